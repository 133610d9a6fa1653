DROP TRIGGER outcomes_are_counted;
ALTER TABLE markets DROP COLUMN outcome_count;
