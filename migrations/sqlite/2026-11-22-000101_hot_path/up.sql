-- A second key-value table beside `control`, which nothing used.
DROP TABLE settings;
