DROP TABLE revenue_periods;
DROP TABLE inference_usage;
DROP TABLE inference_reservations;
