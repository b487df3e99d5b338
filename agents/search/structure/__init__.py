"""Structural moves: rewritings of a program that keep what it computes and give it new numbers to turn."""
