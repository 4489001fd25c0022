#include "bridge/bytes.h"
#include "frame_bodies.h"

static bool read_hello(const uint8_t *body, size_t count, bridge_hello *hello) {
  if (count < HELLO_HEAD_BYTES) {
    return false;
  }
  hello->boot = bridge_get32(body);
  hello->number = bridge_get32(body + 4);
  hello->rate_hz = bridge_get32(body + 8);
  hello->channels = body[12];
  hello->codec = body[13];
  hello->frame_samples = bridge_get16(body + 14);
  hello->abilities = body[16];
  hello->caption_bytes = body[17];
  hello->name.bytes = body + HELLO_HEAD_BYTES;
  hello->name.count = body[18];
  hello->firmware.bytes = hello->name.bytes + hello->name.count;
  hello->firmware.count = body[19];
  return bridge_get16(body + 20) == 0 &&
         count == HELLO_HEAD_BYTES + (size_t)hello->name.count + hello->firmware.count;
}

static bool read_audio(const uint8_t *body, size_t count, bridge_audio *audio) {
  if (count < BRIDGE_AUDIO_HEAD_BYTES) {
    return false;
  }
  audio->sequence = bridge_get32(body);
  audio->first_sample = bridge_get64(body + 4);
  audio->gated_samples = bridge_get32(body + 12);
  audio->codec = body[16];
  audio->channels = body[17];
  audio->samples = bridge_get16(body + 18);
  audio->payload.bytes = body + BRIDGE_AUDIO_HEAD_BYTES;
  audio->payload.count = (uint16_t)(count - BRIDGE_AUDIO_HEAD_BYTES);
  return true;
}

static bool read_status(const uint8_t *body, size_t count, bridge_status *status) {
  if (count != STATUS_BYTES) {
    return false;
  }
  status->uptime_s = bridge_get32(body);
  status->overrun_samples = bridge_get32(body + 4);
  status->frames_sent = bridge_get32(body + 8);
  status->frames_refused = bridge_get32(body + 12);
  status->captions_shown = bridge_get32(body + 16);
  status->temperature_cdeg = bridge_signed16(bridge_get16(body + 20));
  status->battery_mv = bridge_get16(body + 22);
  status->rssi_dbm = bridge_signed8(body[24]);
  status->level_below_fs_db = body[25];
  return true;
}

static bool read_caption(const uint8_t *body, size_t count, bridge_caption *caption) {
  if (count < BRIDGE_CAPTION_HEAD_BYTES) {
    return false;
  }
  caption->id = bridge_get16(body);
  caption->priority = body[2];
  caption->show_s = bridge_get16(body + 4);
  caption->text.count = bridge_get16(body + 6);
  caption->text.bytes = body + BRIDGE_CAPTION_HEAD_BYTES;
  return body[3] == 0 && count == BRIDGE_CAPTION_HEAD_BYTES + (size_t)caption->text.count;
}

static bool read_alert(const uint8_t *body, size_t count, bridge_alert *alert) {
  if (count != ALERT_BYTES) {
    return false;
  }
  alert->id = bridge_get16(body);
  alert->pattern = body[2];
  alert->priority = body[3];
  alert->seconds = bridge_get16(body + 4);
  return true;
}

static bool read_time(const uint8_t *body, size_t count, bridge_time *time) {
  if (count != TIME_BYTES) {
    return false;
  }
  time->boot = bridge_get32(body);
  time->number = bridge_get32(body + 4);
  time->session = bridge_get64(body + 8);
  time->unix_ms = bridge_get64(body + 16);
  return true;
}

static bool read_ack(const uint8_t *body, size_t count, bridge_ack *ack) {
  if (count != ACK_BYTES) {
    return false;
  }
  ack->of_type = body[0];
  ack->result = body[1];
  ack->id = bridge_get16(body + 2);
  return true;
}

bridge_reading bridge_frame_read(const uint8_t *bytes, size_t count, bridge_frame *frame) {
  if (count < BRIDGE_HEADER_BYTES || count > BRIDGE_FRAME_BYTES || bytes[0] != BRIDGE_VERSION) {
    return BRIDGE_REFUSED;
  }
  frame->type = bytes[1];
  frame->device = bridge_get64(bytes + 2);
  if (frame->device == 0) {
    return BRIDGE_REFUSED;
  }
  const uint8_t *body = bytes + BRIDGE_HEADER_BYTES;
  count -= BRIDGE_HEADER_BYTES;
  bool whole = false;
  switch (frame->type) {
    case BRIDGE_HELLO:
      whole = read_hello(body, count, &frame->body.hello);
      break;
    case BRIDGE_AUDIO:
      whole = read_audio(body, count, &frame->body.audio);
      break;
    case BRIDGE_STATUS:
      whole = read_status(body, count, &frame->body.status);
      break;
    case BRIDGE_CAPTION:
      whole = read_caption(body, count, &frame->body.caption);
      break;
    case BRIDGE_ALERT:
      whole = read_alert(body, count, &frame->body.alert);
      break;
    case BRIDGE_TIME:
      whole = read_time(body, count, &frame->body.time);
      break;
    case BRIDGE_ACK:
      whole = read_ack(body, count, &frame->body.ack);
      break;
    default:
      return BRIDGE_UNKNOWN;
  }
  return whole && bridge_frame_in_range(frame) ? BRIDGE_READ : BRIDGE_REFUSED;
}
