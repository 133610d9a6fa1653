DROP TABLE forecasts;
DROP TABLE standings;
DROP TABLE fees;
DROP TABLE order_fills;
DROP TABLE orders;
DROP TABLE order_books;
