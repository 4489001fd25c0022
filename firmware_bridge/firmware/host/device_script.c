/* A device that does what standard input says, line by line, in a time of its own, and prints what it does: for tests of
 * sessions, repetitions, the gate and the ring without a clock.
 *
 *   device_script stream|plain|sealed pcm|adpcm CHANNELS RATE_HZ FRAME_SAMPLES RING_VALUES BEFORE_FRAMES [gate]
 *
 *   poll MS           time goes on, and the device is polled; "more" where sound was left
 *   receive HEX       bytes come from the host
 *   record HEX        s16le samples come from the microphone, a hundred a call of the "interrupt" at the most
 *   flush             the microphone pauses
 *   busy 0|1          the display takes no caption / takes them
 *   counter N         the session's counter, as after N datagrams
 *
 * It prints "sent HEX" for what goes to the link, "caption ID TEXT", "row N TEXT" when the screen changes, "alert ID PATTERN",
 * "time MS", and "done" after each line. Its id is 1, its boot 77, its key 0, 1, … 31. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/bytes.h"
#include "bridge/device.h"
#include "bridge/screen.h"

#define LINE_BYTES (1U << 20)
#define LARGEST_RING (1U << 16)
#define MOST_BEFORE 16U
#define ROWS 3U
#define COLUMNS 10U
#define CAPTION_BYTES 100U
#define WORDS 8
#define RECORDED_VALUES 100U

static bridge_device device;
static bridge_microphone microphone;
static bridge_ring ring;
static bridge_screen screen;
static uint32_t now_ms;
static bool is_busy;
static char line[LINE_BYTES];
static uint8_t bytes[LINE_BYTES / 2U];

static void fail(const char *reason) {
  (void)fprintf(stderr, "device_script: %s\n", reason);
  exit(2);
}

static void print_bytes(const uint8_t *data, size_t count) {
  for (size_t index = 0; index < count; index++) {
    (void)printf("%02x", data[index]);
  }
}

/* The bytes of a stream come in pieces, which end with the packet. */
static void put(void *context, const uint8_t *data, size_t count) {
  static bool goes_on;
  (void)context;
  if (!goes_on) {
    (void)printf("sent ");
  }
  print_bytes(data, count);
  goes_on = device.settings.link == BRIDGE_STREAM && data[count - 1U] != 0;
  if (!goes_on) {
    (void)printf("\n");
  }
}

static bridge_ack_result show(void *context, const bridge_caption *caption) {
  (void)context;
  if (is_busy) {
    return BRIDGE_BUSY;
  }
  (void)printf("caption %u %.*s\n", caption->id, (int)caption->text.count, (const char *)caption->text.bytes);
  return bridge_screen_show(&screen, caption, now_ms);
}

static bridge_ack_result play(void *context, const bridge_alert *alert) {
  (void)context;
  (void)printf("alert %u %u\n", alert->id, alert->pattern);
  return BRIDGE_DONE;
}

static void set_time(void *context, uint64_t unix_ms) {
  (void)context;
  (void)printf("time %llu\n", (unsigned long long)unix_ms);
}

static unsigned long number_of(const char *text) { return strtoul(text, NULL, 10); }

static size_t from_hex(const char *text) {
  size_t count = 0;
  for (; text[0] != '\0' && text[1] != '\0' && text[0] != '\n'; text += 2) {
    const char pair[3] = {text[0], text[1], '\0'};
    bytes[count] = (uint8_t)strtoul(pair, NULL, 16);
    count++;
  }
  return count;
}

static void record(size_t count) {
  int16_t samples[RECORDED_VALUES];
  for (size_t at = 0; at + 2U <= count;) {
    uint32_t values = 0;
    for (; values < RECORDED_VALUES && at + 2U <= count; at += 2U) {
      samples[values] = bridge_signed16(bridge_get16(bytes + at));
      values++;
    }
    bridge_ring_write(&ring, samples, values);
  }
}

static void poll_device(uint32_t passed_ms) {
  now_ms += passed_ms;
  if (bridge_device_poll(&device, now_ms)) {
    (void)printf("more\n");
  }
  if (bridge_screen_update(&screen, now_ms)) {
    for (uint8_t row = 0; row < ROWS; row++) {
      (void)printf("row %u %s\n", row, bridge_screen_row(&screen, row));
    }
  }
}

static void step(void) {
  const char *rest = strchr(line, ' ');
  rest = rest == NULL ? "" : rest + 1;
  if (strncmp(line, "poll ", 5) == 0) {
    poll_device((uint32_t)number_of(rest));
  } else if (strncmp(line, "receive ", 8) == 0) {
    bridge_device_receive(&device, bytes, from_hex(rest), now_ms);
  } else if (strncmp(line, "record ", 7) == 0) {
    record(from_hex(rest));
  } else if (strncmp(line, "flush", 5) == 0) {
    bridge_microphone_flush(&microphone);
  } else if (strncmp(line, "busy ", 5) == 0) {
    is_busy = number_of(rest) == 1UL;
  } else if (strncmp(line, "counter ", 8) == 0) {
    device.counter = (uint32_t)number_of(rest);
  } else {
    fail("a line is unknown");
  }
}

static bridge_link link_of(const char *word) {
  if (strcmp(word, "stream") == 0) {
    return BRIDGE_STREAM;
  }
  return strcmp(word, "plain") == 0 ? BRIDGE_PLAIN : BRIDGE_SEALED;
}

int main(int count, char **words) {
  static int16_t samples[LARGEST_RING];
  static uint8_t before[MOST_BEFORE * BRIDGE_FRAME_BYTES];
  static uint8_t out[BRIDGE_DATAGRAM_BYTES];
  static uint8_t in[BRIDGE_INPUT_ROOM(CAPTION_BYTES)];
  static char cells[ROWS * BRIDGE_ROW_BYTES(COLUMNS)];
  static const bridge_gate_settings GATE = {.above_db = 6, .always_db = 40, .hold_frames = 5};
  uint8_t key[BRIDGE_KEY_BYTES];
  if (count < WORDS) {
    fail("seven words are wanted");
  }
  for (uint8_t index = 0; index < BRIDGE_KEY_BYTES; index++) {
    key[index] = index;
  }
  const uint8_t before_frames = (uint8_t)number_of(words[7]);
  const bridge_microphone_settings hearing = {
      .rate_hz = (uint32_t)number_of(words[4]),
      .channels = (uint8_t)number_of(words[3]),
      .codec = strcmp(words[2], "adpcm") == 0 ? BRIDGE_ADPCM : BRIDGE_PCM,
      .frame_samples = (uint16_t)number_of(words[5]),
      .gate = count > WORDS ? &GATE : NULL,
      .before = before_frames > 0 ? before : NULL,
      .before_frames = before_frames,
  };
  const bridge_device_settings settings = {
      .device = 1, .boot = 77, .name = "script", .firmware = "0", .link = link_of(words[1]), .key = key, .out = out,
      .out_bytes = sizeof out, .in = in, .in_bytes = sizeof in, .caption_bytes = CAPTION_BYTES, .put = put, .show = show,
      .play = play, .set_time = set_time};
  bridge_screen_init(&screen, cells, ROWS, COLUMNS);
  if (before_frames > MOST_BEFORE || !bridge_ring_init(&ring, samples, (uint32_t)number_of(words[6])) ||
      !bridge_microphone_init(&microphone, &hearing, &ring) ||
      !bridge_device_init(&device, &settings, &microphone, now_ms)) {
    fail("these settings are not possible");
  }
  while (fgets(line, sizeof line, stdin) != NULL) {
    step();
    (void)printf("done\n");
    (void)fflush(stdout);
  }
  return 0;
}
