/* Measures what a frame of 20 ms costs: prints, for each codec and link, counter ticks and bytes of 50 frames. Run with
 * `-icount shift=0`, QEMU executes an instruction a nanosecond, so a tick at 50 MHz is 20 instructions. */
#include <string.h>

#include "board.h"
#include "bridge/device.h"

#define FRAMES 50U
#define FRAME_SAMPLES 320U
#define RING_SAMPLES 512U
#define COUNTER_MASK 0x00FFFFFFU

static size_t sent_bytes;
static bridge_device device;
static bridge_microphone microphone;
static bridge_ring ring;
static int16_t samples[RING_SAMPLES];
static uint8_t out[BRIDGE_HEADER_BYTES + BRIDGE_AUDIO_HEAD_BYTES + 2U * FRAME_SAMPLES + BRIDGE_TRAILER_BYTES];
static uint8_t in[BRIDGE_INPUT_ROOM(160U)];
static uint8_t reply[256];
static size_t reply_bytes;

void on_tick(void) {}

static void put(void *context, const uint8_t *bytes, size_t count) {
  (void)context;
  (void)bytes;
  sent_bytes += count;
}

static void keep(void *context, const uint8_t *bytes, size_t count) {
  (void)context;
  memcpy(reply + reply_bytes, bytes, count);
  reply_bytes += count;
}

static bridge_ack_result show(void *context, const bridge_caption *caption) {
  (void)context;
  (void)caption;
  return BRIDGE_DONE;
}

/* Rain, as a generator of random numbers makes it, at -30 dB. */
static int16_t next_sample(void) {
  static uint32_t state = 1;
  state = state * 1664525U + 1013904223U;
  return (int16_t)((int32_t)(state >> 21) - 1024);
}

/* Gives the device a frame of the host's. */
static void answer(bridge_link link, bridge_frame *frame, uint64_t session, uint32_t counter,
                   const bridge_hmac_key *key) {
  static uint8_t bytes[256];
  frame->device = 1;
  size_t count = bridge_frame_write(frame, bytes, sizeof bytes);
  reply_bytes = 0;
  if (link == BRIDGE_STREAM) {
    bridge_stream_write(bytes, count, keep, NULL);
  } else {
    count = bridge_seal(key, BRIDGE_DOWN, session, counter, bytes, count);
    keep(NULL, bytes, count);
  }
}

static uint32_t receive(void) {
  const uint32_t before = board_counter();
  bridge_device_receive(&device, reply, reply_bytes, 0);
  return (before - board_counter()) & COUNTER_MASK;
}

static void print(const char *what, uint32_t ticks, size_t bytes, size_t times) {
  board_print(what);
  board_print(" ticks=");
  board_print_number(ticks);
  board_print(" bytes=");
  board_print_number((uint32_t)bytes);
  board_print(" times=");
  board_print_number((uint32_t)times);
  board_print("\n");
}

static void measure(const char *name, uint8_t codec, bridge_link link, const bridge_gate_settings *gate) {
  static const uint8_t KEY[BRIDGE_KEY_BYTES] = {1};
  const bridge_microphone_settings hearing = {
      .rate_hz = 16000, .channels = 1, .codec = codec, .frame_samples = FRAME_SAMPLES, .gate = gate};
  const bridge_device_settings settings = {
      .device = 1, .boot = 1, .name = "", .firmware = "", .link = link, .key = KEY, .out = out, .out_bytes = sizeof out,
      .in = in, .in_bytes = sizeof in, .caption_bytes = 160, .put = put, .show = show};
  bridge_hmac_key key;
  bridge_hmac_key_init(&key, KEY, sizeof KEY);
  (void)bridge_ring_init(&ring, samples, RING_SAMPLES);
  (void)bridge_microphone_init(&microphone, &hearing, &ring);
  (void)bridge_device_init(&device, &settings, &microphone, 0);
  (void)bridge_device_poll(&device, 0);
  bridge_frame time = {.type = BRIDGE_TIME};
  time.body.time.boot = 1;
  time.body.time.number = 1;
  time.body.time.session = 9;
  answer(link, &time, 0, 0, &key);
  (void)receive();
  (void)bridge_device_poll(&device, 0); /* the first STATUS */

  uint32_t ticks = 0;
  sent_bytes = 0;
  for (unsigned frame = 0; frame < FRAMES; frame++) {
    for (unsigned index = 0; index < FRAME_SAMPLES; index++) {
      const int16_t sample = next_sample();
      bridge_ring_write(&ring, &sample, 1);
    }
    const uint32_t before = board_counter();
    (void)bridge_device_poll(&device, 0);
    ticks += (before - board_counter()) & COUNTER_MASK;
  }
  print(name, ticks, sent_bytes, device.frames_sent);

  static const char TEXT[] = "a dog barks twice while rain falls on a roof";
  bridge_frame caption = {.type = BRIDGE_CAPTION};
  caption.body.caption.id = 1;
  caption.body.caption.text.bytes = (const uint8_t *)TEXT;
  caption.body.caption.text.count = sizeof TEXT - 1U;
  answer(link, &caption, 9, 1, &key);
  ticks = receive();
  print("  caption", ticks, reply_bytes, device.captions_shown);
}

int main(void) {
  static const bridge_gate_settings GATE = {.above_db = 6, .always_db = 45, .hold_frames = 100};
  board_start();
  board_start_counter();
  measure("pcm serial", BRIDGE_PCM, BRIDGE_STREAM, NULL);
  measure("pcm serial gate", BRIDGE_PCM, BRIDGE_STREAM, &GATE);
  measure("adpcm serial", BRIDGE_ADPCM, BRIDGE_STREAM, NULL);
  measure("pcm udp", BRIDGE_PCM, BRIDGE_SEALED, NULL);
  measure("adpcm udp", BRIDGE_ADPCM, BRIDGE_SEALED, NULL);
  board_print("done\n");
  return 0;
}
