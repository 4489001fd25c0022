/* Tells valgrind's callgrind what to count; outside valgrind nothing happens. Loaded by worker.py. */
#include <valgrind/callgrind.h>

int running_on_valgrind(void) { return RUNNING_ON_VALGRIND != 0; }

void start_instrumentation(void) { CALLGRIND_START_INSTRUMENTATION; }

void begin(void) { CALLGRIND_ZERO_STATS; }

void end(const char *name) { CALLGRIND_DUMP_STATS_AT(name); }
