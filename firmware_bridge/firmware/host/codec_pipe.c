/* The library's functions as a filter, so that a test in another language can compare: standard input is requests, each
 * one letter, a u32 of its length and its bytes; standard output is for each a u32 and the answer's bytes. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/adpcm.h"
#include "bridge/bytes.h"
#include "bridge/crc32.h"
#include "bridge/packet.h"

#define ROOM ((size_t)1 << 22)

static uint8_t request[ROOM];
static uint8_t answer[ROOM];
static size_t answer_bytes;

static void fail(const char *reason) {
  (void)fprintf(stderr, "codec_pipe: %s\n", reason);
  exit(1);
}

static void add(void *context, const uint8_t *bytes, size_t count) {
  (void)context;
  if (count > ROOM - answer_bytes) {
    fail("an answer is too long");
  }
  memcpy(answer + answer_bytes, bytes, count);
  answer_bytes += count;
}

static void add_byte(uint8_t byte) { add(NULL, &byte, 1); }

static void add_number(const char *name, int64_t number) {
  char text[64];
  const int count = snprintf(text, sizeof text, " %s=%" PRId64, name, number);
  add(NULL, (const uint8_t *)text, (size_t)count);
}

static void add_big(const char *name, uint64_t number) {
  char text[64];
  const int count = snprintf(text, sizeof text, " %s=%" PRIu64, name, number);
  add(NULL, (const uint8_t *)text, (size_t)count);
}

static void add_text(const char *name, bridge_bytes bytes) {
  static const char DIGITS[] = "0123456789abcdef";
  add_byte(' ');
  add(NULL, (const uint8_t *)name, strlen(name));
  add_byte('=');
  for (size_t index = 0; index < bytes.count; index++) {
    add_byte((uint8_t)DIGITS[bytes.bytes[index] >> 4]);
    add_byte((uint8_t)DIGITS[bytes.bytes[index] & 15U]);
  }
}

static void add_hello(const bridge_hello *hello) {
  add_number("boot", hello->boot);
  add_number("number", hello->number);
  add_number("rate_hz", hello->rate_hz);
  add_number("channels", hello->channels);
  add_number("codec", hello->codec);
  add_number("frame_samples", hello->frame_samples);
  add_number("abilities", hello->abilities);
  add_number("caption_bytes", hello->caption_bytes);
  add_text("name", hello->name);
  add_text("firmware", hello->firmware);
}

static void add_audio(const bridge_audio *audio) {
  add_number("sequence", audio->sequence);
  add_big("first_sample", audio->first_sample);
  add_number("gated_samples", audio->gated_samples);
  add_number("codec", audio->codec);
  add_number("channels", audio->channels);
  add_number("samples", audio->samples);
  add_text("payload", audio->payload);
}

static void add_status(const bridge_status *status) {
  add_number("uptime_s", status->uptime_s);
  add_number("overrun_samples", status->overrun_samples);
  add_number("frames_sent", status->frames_sent);
  add_number("frames_refused", status->frames_refused);
  add_number("captions_shown", status->captions_shown);
  add_number("temperature_cdeg", status->temperature_cdeg);
  add_number("battery_mv", status->battery_mv);
  add_number("rssi_dbm", status->rssi_dbm);
  add_number("level_below_fs_db", status->level_below_fs_db);
}

static void add_fields(const bridge_frame *frame) {
  add_number("type", frame->type);
  add_big("device", frame->device);
  switch (frame->type) {
    case BRIDGE_HELLO:
      add_hello(&frame->body.hello);
      break;
    case BRIDGE_AUDIO:
      add_audio(&frame->body.audio);
      break;
    case BRIDGE_STATUS:
      add_status(&frame->body.status);
      break;
    case BRIDGE_CAPTION:
      add_number("id", frame->body.caption.id);
      add_number("priority", frame->body.caption.priority);
      add_number("show_s", frame->body.caption.show_s);
      add_text("text", frame->body.caption.text);
      break;
    case BRIDGE_ALERT:
      add_number("id", frame->body.alert.id);
      add_number("pattern", frame->body.alert.pattern);
      add_number("priority", frame->body.alert.priority);
      add_number("seconds", frame->body.alert.seconds);
      break;
    case BRIDGE_TIME:
      add_number("boot", frame->body.time.boot);
      add_number("number", frame->body.time.number);
      add_big("session", frame->body.time.session);
      add_big("unix_ms", frame->body.time.unix_ms);
      break;
    default:
      add_number("of_type", frame->body.ack.of_type);
      add_number("result", frame->body.ack.result);
      add_number("id", frame->body.ack.id);
      break;
  }
}

/* F: a frame -> "r", "u" (unknown type) or "x" (refused); if read, a u16 and the frame as written again, a u16 and AUDIO's
 * samples as bytes, and the fields as words. */
static void read_frame(const uint8_t *bytes, size_t count) {
  static int16_t samples[2 * BRIDGE_AUDIO_SAMPLES];
  static uint8_t again[BRIDGE_FRAME_BYTES];
  uint8_t number[2];
  bridge_frame frame;
  const bridge_reading reading = bridge_frame_read(bytes, count, &frame);
  if (reading != BRIDGE_READ) {
    add_byte(reading == BRIDGE_UNKNOWN ? 'u' : 'x');
    return;
  }
  add_byte('r');
  const size_t written = bridge_frame_write(&frame, again, sizeof again);
  bridge_put16(number, (uint16_t)written);
  add(NULL, number, sizeof number);
  add(NULL, again, written);
  size_t values = 0;
  if (frame.type == BRIDGE_AUDIO) {
    values = (size_t)frame.body.audio.samples * frame.body.audio.channels;
    bridge_audio_samples(&frame.body.audio, samples);
  }
  bridge_put16(number, (uint16_t)(2 * values));
  add(NULL, number, sizeof number);
  for (size_t index = 0; index < values; index++) {
    bridge_put16(number, (uint16_t)samples[index]);
    add(NULL, number, sizeof number);
  }
  add_fields(&frame);
}

/* S: bytes of a stream -> a u32 of packets refused, then each frame as a u16 and its bytes. */
static void read_stream(const uint8_t *bytes, size_t count) {
  static uint8_t buffer[BRIDGE_FRAME_BYTES + BRIDGE_CRC_BYTES];
  bridge_cobs_decoder decoder;
  uint32_t refused = 0;
  uint8_t number[4] = {0};
  bridge_cobs_decoder_init(&decoder, buffer, sizeof buffer);
  add(NULL, number, sizeof number);
  for (size_t index = 0; index < count; index++) {
    const bridge_cobs_result result = bridge_cobs_decode(&decoder, bytes[index]);
    const size_t frame_bytes = result == BRIDGE_COBS_FRAME ? bridge_check_crc(buffer, decoder.count) : 0;
    if (frame_bytes > 0) {
      bridge_put16(number, (uint16_t)frame_bytes);
      add(NULL, number, 2);
      add(NULL, buffer, frame_bytes);
    } else if (result != BRIDGE_COBS_MORE) {
      refused++;
    }
  }
  bridge_put32(answer, refused);
}

/* D: a COBS packet without its 0 -> "r" and the data, or "x". */
static void decode_cobs(const uint8_t *bytes, size_t count) {
  static uint8_t buffer[ROOM];
  bridge_cobs_decoder decoder;
  bridge_cobs_decoder_init(&decoder, buffer, sizeof buffer);
  for (size_t index = 0; index < count; index++) {
    if (bridge_cobs_decode(&decoder, bytes[index]) != BRIDGE_COBS_MORE) {
      add_byte('x');
      return;
    }
  }
  if (bridge_cobs_decode(&decoder, 0) == BRIDGE_COBS_FRAME) {
    add_byte('r');
    add(NULL, buffer, decoder.count);
  } else {
    add_byte('x');
  }
}

/* A: direction, session, counter, 32 bytes of key, a frame -> the sealed datagram. */
static void seal(const uint8_t *bytes, size_t count) {
  static uint8_t datagram[BRIDGE_DATAGRAM_BYTES];
  bridge_hmac_key key;
  if (count < 45U || count - 45U > BRIDGE_FRAME_BYTES) {
    fail("a frame to seal has no such length");
  }
  bridge_hmac_key_init(&key, bytes + 13, BRIDGE_KEY_BYTES);
  memcpy(datagram, bytes + 45, count - 45U);
  const bridge_direction way = bytes[0] == BRIDGE_UP ? BRIDGE_UP : BRIDGE_DOWN;
  add(NULL, datagram, bridge_seal(&key, way, bridge_get64(bytes + 1), bridge_get32(bytes + 9), datagram, count - 45U));
}

/* U: direction, 32 bytes of key, a datagram -> "r", session, counter and frame, or "x". */
static void unseal(const uint8_t *bytes, size_t count) {
  bridge_hmac_key key;
  uint64_t session = 0;
  uint32_t counter = 0;
  uint8_t number[8];
  if (count < 33U) {
    fail("a datagram comes without its key");
  }
  bridge_hmac_key_init(&key, bytes + 1, BRIDGE_KEY_BYTES);
  const bridge_direction way = bytes[0] == BRIDGE_UP ? BRIDGE_UP : BRIDGE_DOWN;
  const size_t frame = bridge_unseal(&key, way, bytes + 33, count - 33U, &session, &counter);
  add_byte(frame > 0 ? 'r' : 'x');
  if (frame > 0) {
    bridge_put64(number, session);
    add(NULL, number, 8);
    bridge_put32(number, counter);
    add(NULL, number, 4);
    add(NULL, bytes + 33, frame);
  }
}

/* W: counters, u32 each -> for each 1 where it was taken, else 0. */
static void take_counters(const uint8_t *bytes, size_t count) {
  bridge_replay_window window = {0};
  for (size_t index = 0; index + 4U <= count; index += 4U) {
    add_byte(bridge_replay_take(&window, bridge_get32(bytes + index)) ? 1 : 0);
  }
}

/* M: predictor, step index, a zero, samples -> the block of ADPCM. */
static void encode_adpcm(const uint8_t *bytes, size_t count) {
  static int16_t samples[ROOM / 2];
  static uint8_t codes[ROOM / 4];
  bridge_adpcm state = {.predictor = bridge_signed16(bridge_get16(bytes)), .index = bytes[2]};
  const size_t number = (count - 4U) / 2U;
  for (size_t index = 0; index < number; index++) {
    samples[index] = bridge_signed16(bridge_get16(bytes + 4U + 2U * index));
  }
  bridge_adpcm_encode_block(&state, samples, number, codes);
  add(NULL, bytes, 4);
  add(NULL, codes, (number + 1U) / 2U);
}

/* H: a u8 of the key's length, the key, a message -> SHA-256 of the message, its HMAC, its CRC-32. */
static void hash(const uint8_t *bytes, size_t count) {
  uint8_t digest[BRIDGE_SHA256_BYTES];
  bridge_sha256 whole;
  bridge_hmac_key key;
  const uint8_t *message = bytes + 1U + bytes[0];
  const size_t length = count - 1U - bytes[0];
  bridge_sha256_init(&whole);
  bridge_sha256_update(&whole, message, length / 3U);
  bridge_sha256_update(&whole, message + length / 3U, length - length / 3U);
  bridge_sha256_final(&whole, digest);
  add(NULL, digest, sizeof digest);
  bridge_hmac_key_init(&key, bytes + 1, bytes[0]);
  bridge_hmac(&key, message, length / 2U, message + length / 2U, length - length / 2U, digest);
  add(NULL, digest, sizeof digest);
  bridge_put32(digest, bridge_crc32(bridge_crc32(0, message, length / 2U), message + length / 2U, length - length / 2U));
  add(NULL, digest, 4);
}

/* T: a u8, text -> how many of its bytes are whole characters, the u8 being the most that are wanted. */
static void cut_text(const uint8_t *bytes, size_t count) {
  add_byte((uint8_t)bridge_whole_characters(bytes + 1, count - 1U, bytes[0]));
}

static void serve(uint8_t kind, uint8_t *bytes, size_t count) {
  switch (kind) {
    case 'F':
      read_frame(bytes, count);
      break;
    case 'S':
      read_stream(bytes, count);
      break;
    case 'E': /* a frame -> what goes over a byte stream */
      bridge_stream_write(bytes, count, add, NULL);
      break;
    case 'B': /* data -> COBS, with the 0 */
      bridge_cobs_encode(bytes, count, add, NULL);
      break;
    case 'D':
      decode_cobs(bytes, count);
      break;
    case 'P': /* a plain datagram -> its frame, or nothing */
      add(NULL, bytes, bridge_check_crc(bytes, count));
      break;
    case 'A':
      seal(bytes, count);
      break;
    case 'U':
      unseal(bytes, count);
      break;
    case 'W':
      take_counters(bytes, count);
      break;
    case 'M':
      encode_adpcm(bytes, count);
      break;
    case 'H':
      hash(bytes, count);
      break;
    case 'T':
      cut_text(bytes, count);
      break;
    default:
      fail("a request is unknown");
  }
}

int main(void) {
  uint8_t head[5];
  while (fread(head, 1, sizeof head, stdin) == sizeof head) {
    const size_t count = bridge_get32(head + 1);
    if (count > ROOM - BRIDGE_CRC_BYTES || fread(request, 1, count, stdin) != count) {
      fail("a request is cut");
    }
    answer_bytes = 0;
    serve(head[0], request, count);
    bridge_put32(head, (uint32_t)answer_bytes);
    if (fwrite(head, 1, 4, stdout) != 4 || fwrite(answer, 1, answer_bytes, stdout) != answer_bytes) {
      fail("an answer cannot be written");
    }
  }
  return 0;
}
