int late_need(void) { return 8; }
