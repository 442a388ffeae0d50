"""How fast the dashboards' questions are answered, of a month of one partner among five million subscribers."""
