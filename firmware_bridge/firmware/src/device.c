#include "bridge/device.h"

#include <string.h>

#define HELLO_SOON_MS 1000U
#define HELLO_MS 5000U
#define STATUS_MS 10000U
#define MAX_UNANSWERED 3U
#define FRAMES_A_POLL 4U

static bool is_due(uint32_t now_ms, uint32_t at_ms) { return now_ms - at_ms < 0x80000000U; }

static bool is_text(const char *text) {
  return text != NULL && strlen(text) <= BRIDGE_NAME_BYTES && bridge_is_utf8((const uint8_t *)text, strlen(text));
}

static size_t out_room(const bridge_device_settings *settings, const bridge_microphone *microphone) {
  size_t room = BRIDGE_HELLO_ROOM;
  if (microphone != NULL) {
    const bridge_microphone_settings *sound = &microphone->settings;
    const size_t audio = BRIDGE_HEADER_BYTES + BRIDGE_AUDIO_HEAD_BYTES +
                         bridge_payload_bytes(sound->codec, sound->channels, sound->frame_samples) +
                         (settings->link == BRIDGE_SEALED ? BRIDGE_TRAILER_BYTES : BRIDGE_CRC_BYTES);
    room = audio > room ? audio : room;
  }
  return room;
}

static bool is_usable(const bridge_device_settings *settings, const bridge_microphone *microphone) {
  if (settings->device == 0 || !is_text(settings->name) || !is_text(settings->firmware) || settings->put == NULL ||
      settings->out == NULL || settings->out_bytes < out_room(settings, microphone) ||
      settings->caption_bytes > BRIDGE_TEXT_BYTES) {
    return false;
  }
  if (settings->link == BRIDGE_STREAM) {
    const size_t caption_bytes = settings->show == NULL ? 0 : settings->caption_bytes;
    return settings->in != NULL && settings->in_bytes >= BRIDGE_INPUT_ROOM(caption_bytes);
  }
  return settings->link == BRIDGE_PLAIN || (settings->link == BRIDGE_SEALED && settings->key != NULL);
}

bool bridge_device_init(bridge_device *device, const bridge_device_settings *settings, bridge_microphone *microphone,
                        uint32_t now_ms) {
  memset(device, 0, sizeof *device);
  if (!is_usable(settings, microphone)) {
    return false;
  }
  device->settings = *settings;
  device->settings.key = NULL;
  device->microphone = microphone;
  device->boot = settings->boot;
  if (settings->link == BRIDGE_SEALED) {
    bridge_hmac_key_init(&device->key, settings->key, BRIDGE_KEY_BYTES);
  }
  if (settings->link == BRIDGE_STREAM) {
    bridge_cobs_decoder_init(&device->decoder, settings->in, settings->in_bytes);
  }
  device->hello_at = now_ms;
  device->polled_at = now_ms;
  return true;
}

/* Whether the frame goes in session 0: it makes or asks for a session. */
static bool is_outside_session(const bridge_frame *frame) {
  return frame->type == BRIDGE_HELLO || frame->type == BRIDGE_TIME ||
         (frame->type == BRIDGE_ACK && frame->body.ack.of_type == BRIDGE_HELLO);
}

/* A new boot: the counters of the session are used up, and the host makes a new one. */
static void begin_anew(bridge_device *device) {
  device->boot++;
  device->hello_number = 0;
  device->in_session = false;
  device->linked = false;
  device->hello_at = device->said_at + HELLO_SOON_MS;
}

static void send(bridge_device *device, bridge_frame *frame) {
  const bridge_device_settings *settings = &device->settings;
  const size_t tail = settings->link == BRIDGE_SEALED ? BRIDGE_TRAILER_BYTES : BRIDGE_CRC_BYTES;
  frame->device = settings->device;
  size_t count = bridge_frame_write(frame, settings->out, settings->out_bytes - tail);
  if (count == 0) {
    return;
  }
  if (settings->link == BRIDGE_STREAM) {
    bridge_stream_write(settings->out, count, settings->put, settings->context);
    return;
  }
  if (settings->link == BRIDGE_PLAIN) {
    count = bridge_add_crc(settings->out, count);
  } else if (is_outside_session(frame)) {
    count = bridge_seal(&device->key, BRIDGE_UP, 0, 0, settings->out, count);
  } else {
    if (device->counter == UINT32_MAX) {
      begin_anew(device);
      return;
    }
    device->counter++;
    count = bridge_seal(&device->key, BRIDGE_UP, device->session, device->counter, settings->out, count);
  }
  settings->put(settings->context, settings->out, count);
}

static bridge_bytes text_of(const char *text) {
  const bridge_bytes bytes = {.bytes = (const uint8_t *)text, .count = (uint16_t)strlen(text)};
  return bytes;
}

static void say_hello(bridge_device *device, uint32_t now_ms) {
  const bridge_device_settings *settings = &device->settings;
  bridge_frame frame = {.type = BRIDGE_HELLO};
  bridge_hello *hello = &frame.body.hello;
  /* A display alone says the least that is a format of sound. */
  hello->rate_hz = 16000;
  hello->channels = 1;
  hello->codec = BRIDGE_PCM;
  hello->frame_samples = 1;
  if (device->microphone != NULL) {
    const bridge_microphone_settings *sound = &device->microphone->settings;
    hello->rate_hz = sound->rate_hz;
    hello->channels = sound->channels;
    hello->codec = sound->codec;
    hello->frame_samples = sound->frame_samples;
    hello->abilities = sound->gate != NULL ? BRIDGE_GATES : 0;
  }
  if (settings->show != NULL) {
    hello->abilities |= BRIDGE_SHOWS_CAPTIONS;
    hello->caption_bytes = settings->caption_bytes;
  }
  if (settings->play != NULL) {
    hello->abilities |= BRIDGE_PLAYS_ALERTS;
  }
  hello->boot = device->boot;
  device->hello_number++;
  hello->number = device->hello_number;
  hello->name = text_of(settings->name);
  hello->firmware = text_of(settings->firmware);
  if (settings->link == BRIDGE_STREAM && device->hello_number == 1U) {
    /* Whatever the line said before, a boot message perhaps, ends here. */
    static const uint8_t END = 0;
    settings->put(settings->context, &END, 1);
  }
  if (device->unanswered < MAX_UNANSWERED) {
    device->unanswered++;
  } else {
    device->linked = false;
  }
  device->said_at = now_ms;
  device->hello_at = now_ms + (device->linked ? HELLO_MS : HELLO_SOON_MS);
  send(device, &frame);
}

static void say_status(bridge_device *device, uint32_t now_ms) {
  bridge_frame frame = {.type = BRIDGE_STATUS};
  bridge_status *status = &frame.body.status;
  status->uptime_s = device->uptime_s;
  status->frames_sent = device->frames_sent;
  status->frames_refused = device->frames_refused;
  status->captions_shown = device->captions_shown;
  status->temperature_cdeg = BRIDGE_UNKNOWN_TEMPERATURE;
  status->level_below_fs_db = BRIDGE_UNKNOWN_LEVEL;
  if (device->microphone != NULL) {
    status->overrun_samples = device->microphone->overrun_samples;
    status->level_below_fs_db = device->microphone->level_below_fs_db;
  }
  if (device->settings.describe != NULL) {
    device->settings.describe(device->settings.context, status);
  }
  device->status_at = now_ms + STATUS_MS;
  send(device, &frame);
}

/* Sends frames of sound; whether some may be left. */
static bool send_sound(bridge_device *device) {
  uint8_t *payload = device->settings.out + BRIDGE_HEADER_BYTES + BRIDGE_AUDIO_HEAD_BYTES;
  for (unsigned number = 0; number < FRAMES_A_POLL; number++) {
    bridge_frame frame = {.type = BRIDGE_AUDIO};
    if (!bridge_microphone_next(device->microphone, payload, &frame.body.audio)) {
      return false;
    }
    send(device, &frame);
    device->frames_sent++;
  }
  return true;
}

bool bridge_device_poll(bridge_device *device, uint32_t now_ms) {
  device->uptime_ms += now_ms - device->polled_at;
  device->polled_at = now_ms;
  device->uptime_s += device->uptime_ms / 1000U;
  device->uptime_ms %= 1000U;
  if (is_due(now_ms, device->hello_at)) {
    say_hello(device, now_ms);
  }
  if (device->linked && is_due(now_ms, device->status_at)) {
    say_status(device, now_ms);
  }
  if (device->microphone == NULL) {
    return false;
  }
  if (!device->linked) {
    bridge_microphone_discard(device->microphone);
    return false;
  }
  return send_sound(device);
}

static void forget_ids(bridge_device *device) { memset(device->remembered_ids, 0, sizeof device->remembered_ids); }

static void take_time(bridge_device *device, const bridge_time *time, uint32_t now_ms) {
  const bool answers_last =
      device->unanswered > 0 && time->boot == device->boot && time->number == device->hello_number;
  if (!answers_last || (device->settings.link == BRIDGE_SEALED && time->session == 0)) {
    return;
  }
  if (time->session != device->session || !device->in_session) {
    device->session = time->session;
    device->in_session = true;
    device->counter = 0;
    memset(&device->window, 0, sizeof device->window);
    forget_ids(device);
  }
  device->unanswered = 0;
  if (!device->linked) {
    device->linked = true;
    device->status_at = now_ms;
  }
  device->hello_at = device->said_at + HELLO_MS;
  if (time->unix_ms > 0 && device->settings.set_time != NULL) {
    device->settings.set_time(device->settings.context, time->unix_ms);
  }
}

/* Answers a CAPTION or ALERT that was taken care of before with what was said then; false where it was not. */
static bool answered_before(const bridge_device *device, uint16_t id, bridge_ack_result *result) {
  for (unsigned index = 0; index < BRIDGE_REMEMBERED; index++) {
    if (device->remembered_ids[index] == id) {
      *result = (bridge_ack_result)device->remembered_results[index];
      return true;
    }
  }
  return false;
}

static void answer(bridge_device *device, uint8_t of_type, uint16_t id, bridge_ack_result result) {
  bridge_frame frame = {.type = BRIDGE_ACK};
  frame.body.ack.of_type = of_type;
  frame.body.ack.result = (uint8_t)result;
  frame.body.ack.id = id;
  send(device, &frame);
}

static bridge_ack_result perform(bridge_device *device, const bridge_frame *frame) {
  const bridge_device_settings *settings = &device->settings;
  if (frame->type == BRIDGE_ALERT) {
    return settings->play == NULL ? BRIDGE_CANNOT : settings->play(settings->context, &frame->body.alert);
  }
  if (settings->show == NULL || frame->body.caption.text.count > settings->caption_bytes) {
    return BRIDGE_CANNOT;
  }
  const bridge_ack_result result = settings->show(settings->context, &frame->body.caption);
  if (result == BRIDGE_DONE) {
    device->captions_shown++;
  }
  return result;
}

static void take_request(bridge_device *device, const bridge_frame *frame) {
  const uint16_t id = frame->type == BRIDGE_ALERT ? frame->body.alert.id : frame->body.caption.id;
  bridge_ack_result result = BRIDGE_CANNOT;
  if (!answered_before(device, id, &result)) {
    result = perform(device, frame);
    /* A busy device is asked again: that is no repetition. */
    if (result != BRIDGE_BUSY) {
      device->remembered_ids[device->next_remembered] = id;
      device->remembered_results[device->next_remembered] = (uint8_t)result;
      device->next_remembered = (uint8_t)((device->next_remembered + 1U) % BRIDGE_REMEMBERED);
    }
  }
  if (device->linked) {
    answer(device, frame->type, id, result);
  }
}

static void take_frame(bridge_device *device, const bridge_frame *frame, uint32_t now_ms) {
  switch (frame->type) {
    case BRIDGE_TIME:
      take_time(device, &frame->body.time, now_ms);
      break;
    case BRIDGE_CAPTION:
    case BRIDGE_ALERT:
      take_request(device, frame);
      break;
    case BRIDGE_ACK:
      if (frame->body.ack.of_type == BRIDGE_HELLO) {
        const uint32_t soonest = device->said_at + HELLO_SOON_MS;
        device->hello_at = device->hello_number == 0 || is_due(now_ms, soonest) ? now_ms : soonest;
      }
      break;
    default: /* what devices say, of another one on the same wire or an echo of ours */
      break;
  }
}

/* Whether an authenticated frame is of this session and new. */
static bool is_new(bridge_device *device, const bridge_frame *frame, uint64_t session, uint32_t counter) {
  if (is_outside_session(frame)) {
    return session == 0 && counter == 0;
  }
  return device->in_session && session != 0 && session == device->session &&
         bridge_replay_take(&device->window, counter);
}

static void take_packet(bridge_device *device, const uint8_t *bytes, size_t count, uint32_t now_ms) {
  bridge_frame frame;
  uint64_t session = 0;
  uint32_t counter = 0;
  const bool sealed = device->settings.link == BRIDGE_SEALED;
  const size_t frame_bytes = sealed ? bridge_unseal(&device->key, BRIDGE_DOWN, bytes, count, &session, &counter)
                                    : bridge_check_crc(bytes, count);
  const bridge_reading reading = frame_bytes == 0 ? BRIDGE_REFUSED : bridge_frame_read(bytes, frame_bytes, &frame);
  if (reading == BRIDGE_UNKNOWN) {
    device->frames_unknown++;
  } else if (reading == BRIDGE_REFUSED) {
    device->frames_refused++;
  } else if (frame.device == device->settings.device) {
    if (!sealed || is_new(device, &frame, session, counter)) {
      take_frame(device, &frame, now_ms);
    } else {
      device->frames_refused++;
    }
  }
}

void bridge_device_receive(bridge_device *device, const uint8_t *bytes, size_t count, uint32_t now_ms) {
  if (device->settings.link != BRIDGE_STREAM) {
    take_packet(device, bytes, count, now_ms);
    return;
  }
  for (size_t index = 0; index < count; index++) {
    const bridge_cobs_result result = bridge_cobs_decode(&device->decoder, bytes[index]);
    if (result == BRIDGE_COBS_FRAME) {
      take_packet(device, device->settings.in, device->decoder.count, now_ms);
    } else if (result == BRIDGE_COBS_BROKEN) {
      device->frames_refused++;
    }
  }
}
