#include <string.h>

#include "bridge/bytes.h"
#include "frame_bodies.h"

static void put_bytes(uint8_t *place, bridge_bytes bytes) {
  if (bytes.count > 0 && bytes.bytes != place) {
    memmove(place, bytes.bytes, bytes.count);
  }
}

/* The bytes of a body whose fields are in range; 0 where the type is unknown. */
static size_t body_bytes(const bridge_frame *frame) {
  switch (frame->type) {
    case BRIDGE_HELLO:
      return HELLO_HEAD_BYTES + (size_t)frame->body.hello.name.count + frame->body.hello.firmware.count;
    case BRIDGE_AUDIO:
      return BRIDGE_AUDIO_HEAD_BYTES + (size_t)frame->body.audio.payload.count;
    case BRIDGE_STATUS:
      return STATUS_BYTES;
    case BRIDGE_CAPTION:
      return BRIDGE_CAPTION_HEAD_BYTES + (size_t)frame->body.caption.text.count;
    case BRIDGE_ALERT:
      return ALERT_BYTES;
    case BRIDGE_TIME:
      return TIME_BYTES;
    default:
      return ACK_BYTES;
  }
}

static void write_hello(const bridge_hello *hello, uint8_t *body) {
  bridge_put32(body, hello->boot);
  bridge_put32(body + 4, hello->number);
  bridge_put32(body + 8, hello->rate_hz);
  body[12] = hello->channels;
  body[13] = hello->codec;
  bridge_put16(body + 14, hello->frame_samples);
  body[16] = hello->abilities;
  body[17] = hello->caption_bytes;
  body[18] = (uint8_t)hello->name.count;
  body[19] = (uint8_t)hello->firmware.count;
  bridge_put16(body + 20, 0);
  put_bytes(body + HELLO_HEAD_BYTES, hello->name);
  put_bytes(body + HELLO_HEAD_BYTES + hello->name.count, hello->firmware);
}

static void write_audio(const bridge_audio *audio, uint8_t *body) {
  put_bytes(body + BRIDGE_AUDIO_HEAD_BYTES, audio->payload);
  bridge_put32(body, audio->sequence);
  bridge_put64(body + 4, audio->first_sample);
  bridge_put32(body + 12, audio->gated_samples);
  body[16] = audio->codec;
  body[17] = audio->channels;
  bridge_put16(body + 18, audio->samples);
}

static void write_status(const bridge_status *status, uint8_t *body) {
  bridge_put32(body, status->uptime_s);
  bridge_put32(body + 4, status->overrun_samples);
  bridge_put32(body + 8, status->frames_sent);
  bridge_put32(body + 12, status->frames_refused);
  bridge_put32(body + 16, status->captions_shown);
  bridge_put16(body + 20, (uint16_t)status->temperature_cdeg);
  bridge_put16(body + 22, status->battery_mv);
  body[24] = (uint8_t)status->rssi_dbm;
  body[25] = status->level_below_fs_db;
}

static void write_caption(const bridge_caption *caption, uint8_t *body) {
  bridge_put16(body, caption->id);
  body[2] = caption->priority;
  body[3] = 0;
  bridge_put16(body + 4, caption->show_s);
  bridge_put16(body + 6, caption->text.count);
  put_bytes(body + BRIDGE_CAPTION_HEAD_BYTES, caption->text);
}

static void write_alert(const bridge_alert *alert, uint8_t *body) {
  bridge_put16(body, alert->id);
  body[2] = alert->pattern;
  body[3] = alert->priority;
  bridge_put16(body + 4, alert->seconds);
}

static void write_time(const bridge_time *time, uint8_t *body) {
  bridge_put32(body, time->boot);
  bridge_put32(body + 4, time->number);
  bridge_put64(body + 8, time->session);
  bridge_put64(body + 16, time->unix_ms);
}

static void write_ack(const bridge_ack *ack, uint8_t *body) {
  body[0] = ack->of_type;
  body[1] = ack->result;
  bridge_put16(body + 2, ack->id);
}

size_t bridge_frame_write(const bridge_frame *frame, uint8_t *bytes, size_t capacity) {
  if (frame->device == 0 || !bridge_frame_in_range(frame)) {
    return 0;
  }
  const size_t count = BRIDGE_HEADER_BYTES + body_bytes(frame);
  if (count > capacity || count > BRIDGE_FRAME_BYTES) {
    return 0;
  }
  uint8_t *body = bytes + BRIDGE_HEADER_BYTES;
  switch (frame->type) {
    case BRIDGE_HELLO:
      write_hello(&frame->body.hello, body);
      break;
    case BRIDGE_AUDIO:
      write_audio(&frame->body.audio, body);
      break;
    case BRIDGE_STATUS:
      write_status(&frame->body.status, body);
      break;
    case BRIDGE_CAPTION:
      write_caption(&frame->body.caption, body);
      break;
    case BRIDGE_ALERT:
      write_alert(&frame->body.alert, body);
      break;
    case BRIDGE_TIME:
      write_time(&frame->body.time, body);
      break;
    default:
      write_ack(&frame->body.ack, body);
      break;
  }
  bytes[0] = BRIDGE_VERSION;
  bytes[1] = frame->type;
  bridge_put64(bytes + 2, frame->device);
  return count;
}
