/* From reset to main(): the vector table, variables, nothing else. */
#include <stdint.h>
#include <string.h>

#include "board.h"

extern uint8_t stack_top[];
extern uint8_t data_load[];
extern uint8_t data_start[];
extern uint8_t data_end[];
extern uint8_t bss_start[];
extern uint8_t bss_end[];

int main(void);
void reset(void);

/* A fault ends here, where a debugger finds it; a product would reset through its watchdog. */
static void stop(void) {
  for (;;) {
  }
}

void reset(void) {
  memcpy(data_start, data_load, (size_t)(data_end - data_start));
  memset(bss_start, 0, (size_t)(bss_end - bss_start));
  (void)main();
  stop();
}

typedef void (*vector)(void);

/* ARMv7-M, B1.5.3; interrupts as in the LM3S6965's data sheet, table 2-9: UART0 is the sixth. */
static const struct {
  const uint8_t *stack;
  vector exceptions[15];
  vector interrupts[6];
} vectors __attribute__((section(".vectors"), used)) = {
    .stack = stack_top,
    .exceptions = {reset, stop, stop, stop, stop, stop, NULL, NULL, NULL, NULL, stop, stop, NULL, stop, on_tick},
    .interrupts = {stop, stop, stop, stop, stop, on_uart0},
};
