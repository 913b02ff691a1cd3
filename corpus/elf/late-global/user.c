/* Names nobody: what it needs must be there already, for all to see. */
int late_value(void);
int late_need(void);
int user_value(void) { return late_value(); }
int user_need(void) { return late_need(); }
