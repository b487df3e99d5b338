-- The baseline of the version in force, and the champion.
SELECT arg_max(base_tree, coalesce(version, 0)) AS proposal FROM internal.opened WHERE arena = {arena}
UNION ALL
SELECT proposal FROM champions WHERE arena = {arena} AND reigns
