DROP TABLE node_stakes;
DROP TABLE hosted_runs;
