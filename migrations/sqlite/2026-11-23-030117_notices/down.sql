DELETE FROM control WHERE key = 'notices';
DROP INDEX webhooks_failing;
DROP TABLE mails;
DROP TABLE mail_items;
DROP TABLE mail_addresses;
DROP TABLE notice_choices;
DROP TABLE notices;
DROP TABLE follows;
