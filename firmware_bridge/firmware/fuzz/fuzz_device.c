/* A device on each kind of link, through whatever may come: the first byte chooses link and codec, then come steps, each a
 * byte of what, a byte of how much, and bytes. Frames that it is to take get their CRC or tag here, since no fuzzer guesses one. */
#include <stdlib.h>
#include <string.h>

#include "bridge/bytes.h"
#include "bridge/device.h"
#include "bridge/screen.h"

#define FRAME_SAMPLES 40U
#define RING_SAMPLES 128U
#define BEFORE_FRAMES 3U
#define ROWS 3U
#define COLUMNS 7U
#define CAPTION_BYTES 60U
#define PACKET_ROOM 2048U

static uint8_t packet[PACKET_ROOM];
static size_t packet_bytes;

static bridge_device device;
static bridge_microphone microphone;
static bridge_ring ring;
static bridge_screen screen;
static uint64_t heard;     /* samples given to the ring */
static uint64_t next_sample; /* first sample that the host has not been told of */
static uint32_t now_ms;

static const uint8_t KEY[BRIDGE_KEY_BYTES] = {7};

static void expect(bool holds) {
  if (!holds) {
    abort();
  }
}

static void keep(void *context, const uint8_t *bytes, size_t count) {
  (void)context;
  expect(count <= PACKET_ROOM - packet_bytes);
  memcpy(packet + packet_bytes, bytes, count);
  packet_bytes += count;
}

/* What the device sends is a frame of the format, and its sound goes on forwards. */
static void check_sent(const uint8_t *bytes, size_t count) {
  bridge_frame frame;
  expect(bridge_frame_read(bytes, count, &frame) == BRIDGE_READ);
  expect(frame.type != BRIDGE_CAPTION && frame.type != BRIDGE_ALERT && frame.type != BRIDGE_TIME);
  if (frame.type == BRIDGE_AUDIO) {
    expect(device.linked);
    expect(frame.body.audio.first_sample >= next_sample);
    next_sample = frame.body.audio.first_sample + frame.body.audio.samples;
    expect(next_sample <= heard);
  }
}

static void put(void *context, const uint8_t *bytes, size_t count) {
  static uint8_t frame[BRIDGE_FRAME_BYTES + BRIDGE_CRC_BYTES];
  static bridge_cobs_decoder decoder;
  (void)context;
  if (device.settings.link == BRIDGE_PLAIN) {
    check_sent(bytes, bridge_check_crc(bytes, count));
  } else if (device.settings.link == BRIDGE_SEALED) {
    bridge_hmac_key key;
    uint64_t session = 0;
    uint32_t counter = 0;
    bridge_hmac_key_init(&key, KEY, sizeof KEY);
    check_sent(bytes, bridge_unseal(&key, BRIDGE_UP, bytes, count, &session, &counter));
  } else {
    if (decoder.buffer == NULL) {
      bridge_cobs_decoder_init(&decoder, frame, sizeof frame);
    }
    for (size_t index = 0; index < count; index++) {
      const bridge_cobs_result result = bridge_cobs_decode(&decoder, bytes[index]);
      expect(result != BRIDGE_COBS_BROKEN);
      if (result == BRIDGE_COBS_FRAME) {
        check_sent(frame, bridge_check_crc(frame, decoder.count));
      }
    }
  }
}

static bridge_ack_result show(void *context, const bridge_caption *caption) {
  (void)context;
  expect(caption->text.count > 0 && caption->text.count <= CAPTION_BYTES);
  const bridge_ack_result result = bridge_screen_show(&screen, caption, now_ms);
  for (uint8_t row = 0; row < ROWS; row++) {
    const char *text = bridge_screen_row(&screen, row);
    expect(strlen(text) < BRIDGE_ROW_BYTES(COLUMNS));
    expect(bridge_is_utf8((const uint8_t *)text, strlen(text)));
  }
  return result;
}

static bridge_ack_result play(void *context, const bridge_alert *alert) {
  (void)context;
  return (bridge_ack_result)(alert->seconds % 3U);
}

/* Gives the device a frame with what the link asks for. */
static void give_frame(uint8_t *bytes, size_t count, uint64_t session, uint32_t counter) {
  bridge_hmac_key key;
  packet_bytes = 0;
  if (device.settings.link == BRIDGE_STREAM) {
    bridge_stream_write(bytes, count, keep, NULL);
  } else if (device.settings.link == BRIDGE_PLAIN) {
    keep(NULL, bytes, bridge_add_crc(bytes, count));
  } else {
    bridge_hmac_key_init(&key, KEY, sizeof KEY);
    keep(NULL, bytes, bridge_seal(&key, BRIDGE_DOWN, session, counter, bytes, count));
  }
  bridge_device_receive(&device, packet, packet_bytes, now_ms);
}

static void give_time(uint64_t session) {
  uint8_t bytes[64];
  bridge_frame frame = {.type = BRIDGE_TIME, .device = 1};
  frame.body.time.boot = device.boot;
  frame.body.time.number = device.hello_number;
  frame.body.time.session = session;
  give_frame(bytes, bridge_frame_write(&frame, bytes, sizeof bytes), 0, 0);
}

static void record(const uint8_t *bytes, size_t count) {
  for (size_t index = 0; index + 2U <= count; index += 2U) {
    const int16_t sample = bridge_signed16(bridge_get16(bytes + index));
    for (unsigned times = 0; times < 1U + (bytes[index] & 31U); times++) {
      const int16_t both[2] = {sample, (int16_t)~sample};
      bridge_ring_write(&ring, both, microphone.settings.channels);
      heard++;
    }
  }
}

static void step(uint8_t what, const uint8_t *bytes, size_t count) {
  static uint8_t frame[BRIDGE_DATAGRAM_BYTES];
  switch (what % 8U) {
    case 0: /* as it came */
      bridge_device_receive(&device, bytes, count, now_ms);
      break;
    case 1: /* a frame for this device: its header, and the bytes as type and body */
      frame[0] = BRIDGE_VERSION;
      frame[1] = count > 0 ? bytes[0] : 0;
      bridge_put64(frame + 2, 1);
      if (count > 1U) {
        memcpy(frame + BRIDGE_HEADER_BYTES, bytes + 1, count - 1U);
      }
      give_frame(frame, BRIDGE_HEADER_BYTES + (count > 1U ? count - 1U : 0), device.session,
                 device.window.highest + 1U - what / 8U);
      break;
    case 2: /* time */
      now_ms += count > 0 ? bytes[0] * 37U : 1U;
      (void)bridge_device_poll(&device, now_ms);
      (void)bridge_screen_update(&screen, now_ms);
      break;
    case 3:
      give_time(1U + what / 8U);
      break;
    case 4:
      bridge_microphone_flush(&microphone);
      break;
    case 5: /* the counters come to their end */
      device.counter = UINT32_MAX - what / 8U;
      break;
    default:
      record(bytes, count);
      break;
  }
}

static void begin(uint8_t choice) {
  static int16_t samples[RING_SAMPLES];
  static uint8_t out[BRIDGE_HEADER_BYTES + BRIDGE_AUDIO_HEAD_BYTES + 4U * FRAME_SAMPLES + BRIDGE_TRAILER_BYTES];
  static uint8_t in[BRIDGE_INPUT_ROOM(CAPTION_BYTES)];
  static uint8_t before[BEFORE_FRAMES * 4U * FRAME_SAMPLES];
  static char cells[ROWS * BRIDGE_ROW_BYTES(COLUMNS)];
  static const bridge_gate_settings GATE = {.above_db = 6, .always_db = 40, .hold_frames = 2};
  static const bridge_link LINKS[4] = {BRIDGE_STREAM, BRIDGE_PLAIN, BRIDGE_SEALED, BRIDGE_SEALED};
  const bool gated = (choice & 8U) != 0;
  const bool kept = gated && (choice & 16U) != 0;
  const bridge_microphone_settings hearing = {
      .rate_hz = 8000,
      .channels = (choice & 32U) != 0 ? 2 : 1,
      .codec = (choice & 4U) != 0 ? BRIDGE_ADPCM : BRIDGE_PCM,
      .frame_samples = FRAME_SAMPLES,
      .gate = gated ? &GATE : NULL,
      .before = kept ? before : NULL,
      .before_frames = kept ? BEFORE_FRAMES : 0,
  };
  const bridge_device_settings settings = {
      .device = 1, .boot = 5, .name = "é", .firmware = "1", .link = LINKS[choice & 3U], .key = KEY, .out = out,
      .out_bytes = sizeof out, .in = in, .in_bytes = sizeof in, .caption_bytes = CAPTION_BYTES, .put = put, .show = show,
      .play = (choice & 64U) != 0 ? play : NULL};
  heard = 0;
  next_sample = 0;
  now_ms = 0U - choice;
  bridge_screen_init(&screen, cells, ROWS, COLUMNS);
  expect(bridge_ring_init(&ring, samples, RING_SAMPLES));
  expect(bridge_microphone_init(&microphone, &hearing, &ring));
  expect(bridge_device_init(&device, &settings, &microphone, now_ms));
  (void)bridge_device_poll(&device, now_ms);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
  if (count == 0) {
    return 0;
  }
  begin(bytes[0]);
  for (size_t at = 1; at + 2U <= count;) {
    const size_t left = count - at - 2U;
    const size_t wanted = bytes[at + 1U];
    const size_t taken = wanted < left ? wanted : left;
    step(bytes[at], bytes + at + 2U, taken);
    at += 2U + taken;
  }
  /* Every sample that was heard is sent, left out, lost, or still here. */
  (void)bridge_device_poll(&device, now_ms);
  expect(microphone.position <= heard);
  expect(heard - microphone.position <= RING_SAMPLES + ring.hole_size + ring.dropping);
  return 0;
}
