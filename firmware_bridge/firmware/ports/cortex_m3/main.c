/* A microphone and a display on a UART: the recording that is linked into the image is what the microphone hears, once, from
 * the moment at which a host answers; what the display shows is printed on the console. */
#include <stdbool.h>
#include <string.h>

#include "board.h"
#include "bridge/device.h"
#include "bridge/mulaw.h"
#include "bridge/screen.h"
#include "recording_format.h"

#ifndef CODEC
#define CODEC BRIDGE_PCM
#endif

#define DEVICE_ID 0x02CA5C4DE0000001U /* an address of the locally administered kind */
#define FRAME_SAMPLES (RECORDING_RATE_HZ / 50U) /* 20 ms */
#define PAYLOAD_BYTES (2U * FRAME_SAMPLES)      /* PCM, the longer one */
#define RING_SAMPLES 512U                       /* 32 ms at 16 kHz */
#define ROWS 4U
#define COLUMNS 21U
#define CAPTION_BYTES 160U
#define SAMPLES_A_TICK (RECORDING_RATE_HZ / TICKS_HZ)

extern const uint8_t recording_start[];
extern const uint8_t recording_end[];

/* The display: what a port with pixels would draw. */
char screen_cells[ROWS * BRIDGE_ROW_BYTES(COLUMNS)];

static bridge_screen screen;
static bridge_ring ring;
static bridge_microphone microphone;
static bridge_device device;
static volatile uint32_t now_ms;
static volatile bool hears;    /* the microphone runs */
static volatile bool is_over;  /* the recording was heard */
static uint32_t lamp_until_ms; /* of an alert that is being played */
static bool lamp_is_on;

static int16_t sample_at(uint32_t position) {
#if RECORDING_IS_MULAW
  return bridge_mulaw_sample(recording_start[position]);
#else
  int16_t sample = 0;
  memcpy(&sample, recording_start + 2U * position, sizeof sample);
  return sample;
#endif
}

/* What the interrupt of an I2S peripheral would do when it has SAMPLES_A_TICK samples. */
void on_tick(void) {
  static uint32_t position;
  const uint32_t end = (uint32_t)(recording_end - recording_start) / (RECORDING_IS_MULAW ? 1U : 2U);
  int16_t samples[SAMPLES_A_TICK];
  uint32_t count = 0;
  now_ms++;
  if (!hears || is_over) {
    return;
  }
  while (count < SAMPLES_A_TICK && position < end) {
    samples[count] = sample_at(position);
    position++;
    count++;
  }
  bridge_ring_write(&ring, samples, count);
  is_over = position == end;
}

static void put(void *context, const uint8_t *bytes, size_t count) {
  (void)context;
  board_link_write(bytes, count);
}

static bridge_ack_result show(void *context, const bridge_caption *caption) {
  (void)context;
  return bridge_screen_show(&screen, caption, now_ms);
}

static bridge_ack_result play(void *context, const bridge_alert *alert) {
  (void)context;
  lamp_is_on = alert->pattern != BRIDGE_STOP;
  lamp_until_ms = now_ms + (alert->seconds > 0 ? alert->seconds : 1U) * 1000U;
  board_lamp(lamp_is_on);
  board_print("alert ");
  board_print_number(alert->pattern);
  board_print("\n");
  return BRIDGE_DONE;
}

static void draw(void) {
  for (uint8_t row = 0; row < ROWS; row++) {
    board_print("screen |");
    board_print(bridge_screen_row(&screen, row));
    board_print("|\n");
  }
}

static void tell_end(void) {
  board_print("heard all: sent ");
  board_print_number(device.frames_sent);
  board_print(" frames, lost ");
  board_print_number(microphone.overrun_samples);
  board_print(" samples\n");
}

static void run(void) {
  uint8_t bytes[32];
  bool told = false;
  for (;;) {
    const size_t count = board_link_read(bytes, sizeof bytes);
    bridge_device_receive(&device, bytes, count, now_ms);
    hears = hears || device.linked;
    if (is_over && !told) {
      bridge_microphone_flush(&microphone);
    }
    const bool more = bridge_device_poll(&device, now_ms);
    if (is_over && !told && !more) {
      tell_end();
      told = true;
    }
    if (bridge_screen_update(&screen, now_ms)) {
      draw();
    }
    if (lamp_is_on && now_ms - lamp_until_ms < 0x80000000U) {
      lamp_is_on = false;
      board_lamp(0);
    }
    if (count == 0 && !more) {
      __asm volatile("wfi"); /* until the tick or a byte */
    }
  }
}

int main(void) {
  static int16_t samples[RING_SAMPLES];
  static uint8_t out[BRIDGE_HEADER_BYTES + BRIDGE_AUDIO_HEAD_BYTES + PAYLOAD_BYTES + BRIDGE_CRC_BYTES];
  static uint8_t in[BRIDGE_INPUT_ROOM(CAPTION_BYTES)];
  const bridge_microphone_settings hearing = {
      .rate_hz = RECORDING_RATE_HZ, .channels = 1, .codec = CODEC, .frame_samples = FRAME_SAMPLES};
  const bridge_device_settings settings = {
      .device = DEVICE_ID,
      .boot = board_boot_number(),
      .name = "cortex-m3",
      .firmware = "1.0.0",
      .link = BRIDGE_STREAM,
      .out = out,
      .out_bytes = sizeof out,
      .in = in,
      .in_bytes = sizeof in,
      .caption_bytes = CAPTION_BYTES,
      .put = put,
      .show = show,
      .play = play,
  };
  board_start();
  bridge_screen_init(&screen, screen_cells, ROWS, COLUMNS);
  if (!bridge_ring_init(&ring, samples, RING_SAMPLES) || !bridge_microphone_init(&microphone, &hearing, &ring) ||
      !bridge_device_init(&device, &settings, &microphone, 0)) {
    board_print("the settings are not possible\n");
    return 1;
  }
  board_start_ticks();
  run();
  return 0;
}
