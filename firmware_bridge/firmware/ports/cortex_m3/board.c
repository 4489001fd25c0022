#include "board.h"

#include <stdbool.h>

#include "bridge/crc32.h"

/* Registers: LM3S6965 data sheet (chapters 5, 8, 12), ARMv7-M (B3.3, B3.4). */
#define REGISTER(address) (*(volatile uint32_t *)(address))
#define SYSTEM_STATUS REGISTER(0x400FE050U)
#define RUN_CLOCK REGISTER(0x400FE060U)
#define UART_CLOCKS REGISTER(0x400FE104U)
#define PORT_CLOCKS REGISTER(0x400FE108U)
#define SYSTICK_CONTROL REGISTER(0xE000E010U)
#define SYSTICK_RELOAD REGISTER(0xE000E014U)
#define SYSTICK_VALUE REGISTER(0xE000E018U)
#define INTERRUPTS_ON REGISTER(0xE000E100U)

#define PORT_A 0x40004000U
#define PORT_D 0x40007000U
#define PORT_F 0x40025000U
#define PORT_DIRECTION 0x400U
#define PORT_ALTERNATE 0x420U
#define PORT_DIGITAL 0x51CU

#define UART0 0x4000C000U
#define UART1 0x4000D000U
#define UART_DATA 0x000U
#define UART_FLAGS 0x018U
#define UART_WHOLE_DIVISOR 0x024U
#define UART_FRACTION 0x028U
#define UART_LINE 0x02CU
#define UART_CONTROL 0x030U
#define UART_INTERRUPTS 0x038U
#define UART_CLEAR 0x044U
#define SENDER_IS_FULL 0x20U
#define RECEIVER_IS_EMPTY 0x10U
#define ON_RECEPTION 0x50U /* half full, or nothing more came for a while */

#define LINK_BAUD 921600U
#define CONSOLE_BAUD 115200U
#define RECEIVED_BYTES 512U /* a power of two */
#define ALL_TICKS 0x00FFFFFFU

static uint8_t received[RECEIVED_BYTES];
static volatile uint32_t received_head; /* the interrupt's */
static volatile uint32_t received_tail; /* the loop's */

/* 400 MHz / 2 / 4 from the crystal of 8 MHz, in the order of the data sheet's 5.2.5.4. */
static void start_clock(void) {
  const uint32_t bypass = 1U << 11;
  const uint32_t off = 1U << 13;
  const uint32_t divide = 1U << 22;
  uint32_t clock = RUN_CLOCK;
  clock = (clock | bypass) & ~divide;
  RUN_CLOCK = clock;
  clock = (clock & ~((0x1FU << 4) | (0x0FU << 6) | off | 1U)) | (0x0EU << 6);
  RUN_CLOCK = clock;
  clock = (clock & ~(0x0FU << 23)) | (3U << 23) | divide;
  RUN_CLOCK = clock;
  while ((SYSTEM_STATUS & (1U << 6)) == 0) {
  }
  RUN_CLOCK = clock & ~bypass;
}

static void start_uart(uint32_t uart, uint32_t baud) {
  const uint32_t divisor = (CLOCK_HZ * 4U + baud / 2U) / baud; /* in 1/64 */
  REGISTER(uart + UART_CONTROL) = 0;
  REGISTER(uart + UART_WHOLE_DIVISOR) = divisor / 64U;
  REGISTER(uart + UART_FRACTION) = divisor % 64U;
  REGISTER(uart + UART_LINE) = 0x70; /* 8 bits, no parity, queues */
  REGISTER(uart + UART_CONTROL) = 0x301;
}

static void use_pins(uint32_t port, uint32_t pins) {
  REGISTER(port + PORT_ALTERNATE) |= pins;
  REGISTER(port + PORT_DIGITAL) |= pins;
}

void board_start(void) {
  start_clock();
  UART_CLOCKS |= 3U;
  PORT_CLOCKS |= (1U << 0) | (1U << 3) | (1U << 5);
  use_pins(PORT_A, 3U << 0);
  use_pins(PORT_D, 3U << 2);
  REGISTER(PORT_F + PORT_DIRECTION) |= 1U;
  REGISTER(PORT_F + PORT_DIGITAL) |= 1U;
  start_uart(UART0, LINK_BAUD);
  start_uart(UART1, CONSOLE_BAUD);
  REGISTER(UART0 + UART_INTERRUPTS) = ON_RECEPTION;
  INTERRUPTS_ON = 1U << 5;
}

void board_start_ticks(void) {
  SYSTICK_RELOAD = CLOCK_HZ / TICKS_HZ - 1U;
  SYSTICK_VALUE = 0;
  SYSTICK_CONTROL = 7;
}

void board_start_counter(void) {
  SYSTICK_RELOAD = ALL_TICKS;
  SYSTICK_VALUE = 0;
  SYSTICK_CONTROL = 5;
}

uint32_t board_counter(void) { return SYSTICK_VALUE; }

static void write_byte(uint32_t uart, uint8_t byte) {
  while ((REGISTER(uart + UART_FLAGS) & SENDER_IS_FULL) != 0) {
  }
  REGISTER(uart + UART_DATA) = byte;
}

void board_link_write(const uint8_t *bytes, size_t count) {
  for (size_t index = 0; index < count; index++) {
    write_byte(UART0, bytes[index]);
  }
}

void on_uart0(void) {
  REGISTER(UART0 + UART_CLEAR) = ON_RECEPTION;
  while ((REGISTER(UART0 + UART_FLAGS) & RECEIVER_IS_EMPTY) == 0) {
    const uint8_t byte = (uint8_t)REGISTER(UART0 + UART_DATA);
    /* What the loop is too slow for is lost; the CRC tells. */
    if (received_head - received_tail < RECEIVED_BYTES) {
      received[received_head % RECEIVED_BYTES] = byte;
      received_head++;
    }
  }
}

size_t board_link_read(uint8_t *bytes, size_t count) {
  size_t taken = 0;
  while (taken < count && received_tail != received_head) {
    bytes[taken] = received[received_tail % RECEIVED_BYTES];
    received_tail++;
    taken++;
  }
  return taken;
}

void board_print(const char *text) {
  for (; *text != '\0'; text++) {
    write_byte(UART1, (uint8_t)*text);
  }
}

void board_print_number(uint32_t number) {
  char text[11];
  size_t at = sizeof text - 1U;
  text[at] = '\0';
  do {
    at--;
    text[at] = (char)('0' + number % 10U);
    number /= 10U;
  } while (number > 0);
  board_print(text + at);
}

void board_lamp(int is_on) { REGISTER(PORT_F + (1U << 2)) = is_on != 0 ? 1U : 0; }

uint32_t board_boot_number(void) {
  /* This chip has no generator of random numbers. RAM holds chance at power-on, and after a reset what was put here at the
   * start before. That is enough for a cable; a device with a key needs a generator. */
  static uint32_t kept[64] __attribute__((section(".noinit")));
  const uint32_t number = bridge_crc32(0, (const uint8_t *)kept, sizeof kept);
  kept[number % 64U] += number | 1U;
  return number;
}
