DROP TABLE enforcement_reports;
