DROP TABLE panel_seats;
DROP TABLE panels;
DROP TABLE gold_views;
DROP TABLE gold_cases;
DROP TABLE draw_secrets;
DROP TABLE jurors;
