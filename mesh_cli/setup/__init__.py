"""What a machine needs: doctor, its checks, and contexts."""
