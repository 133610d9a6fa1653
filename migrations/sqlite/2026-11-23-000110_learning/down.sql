ALTER TABLE evidence DROP COLUMN oracle_version;
DROP TABLE oracle_weights;
DROP TABLE oracle_versions;
DROP TABLE settled_cases;
