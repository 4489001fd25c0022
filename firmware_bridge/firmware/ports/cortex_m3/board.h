/* The parts of an LM3S6965 that the port uses: clock, tick, two UARTs, a lamp. */
#ifndef BOARD_H
#define BOARD_H

#include <stddef.h>
#include <stdint.h>

#define CLOCK_HZ 50000000U
#define TICKS_HZ 1000U

/* Sets up clock, pins and both UARTs. The tick does not run yet. */
void board_start(void);

/* Has on_tick called TICKS_HZ times a second. */
void board_start_ticks(void);

/* Counts down from 2^24 - 1 at CLOCK_HZ and begins anew, without interrupts: for measuring. */
void board_start_counter(void);
uint32_t board_counter(void);

/* Writes to the link (UART0), waiting while its queue is full. */
void board_link_write(const uint8_t *bytes, size_t count);

/* Takes what came over the link, up to `count` bytes; returns how many. */
size_t board_link_read(uint8_t *bytes, size_t count);

/* Writes to the console (UART1). */
void board_print(const char *text);
void board_print_number(uint32_t number);

void board_lamp(int is_on);

/* A number that differs from one start to the next. */
uint32_t board_boot_number(void);

/* Interrupts. on_tick is the application's. */
void on_tick(void);
void on_uart0(void);

#endif
