/* A device of this library on a computer: streams a WAV file to a host as a microphone would, and prints the captions
 * that come back. For tests, and for trying a link before there is hardware. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bridge/device.h"
#include "bridge/screen.h"
#include "line.h"
#include "wav.h"

#define RING_SAMPLES 16384U
#define ROWS 4U
#define COLUMNS 21U
#define BEFORE_FRAMES 10U
#define MS_OF_A_FRAME 20U
#define LONGEST_PAYLOAD (BRIDGE_FRAME_BYTES - BRIDGE_HEADER_BYTES - BRIDGE_AUDIO_HEAD_BYTES)
#define GATE_ABOVE_DB 6U
#define GATE_ALWAYS_DB 45U
#define GATE_HOLD_FRAMES 100U

static const char USAGE[] =
    "usage: stream_wav (--serial PATH [--baud N] | --udp HOST:PORT (--key-file FILE | --plain)) [options] FILE.wav\n"
    "  --key-file FILE  32 bytes in hexadecimal, as `edge-aac bridge keygen` writes them\n"
    "  --id N           the device's id (default 1)\n"
    "  --name NAME      what a person calls it\n"
    "  --adpcm          4 bits a sample\n"
    "  --gate           leave out what is quiet\n"
    "  --speed X        times as fast as the microphone would be (default 1)\n"
    "  --stay S         seconds to wait for captions after the end of the file (default 5)\n";

typedef struct {
  const char *serial;
  unsigned long baud;
  const char *udp;
  const char *key_file;
  const char *name;
  const char *file;
  unsigned long long id;
  double speed;
  double stay_s;
  bool plain;
  bool adpcm;
  bool gate;
} options;

typedef struct {
  int line;
  bool is_stream;
  bridge_screen screen;
} port;

static uint64_t now_us(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000U + (uint64_t)now.tv_nsec / 1000U;
}

static uint32_t now_ms(void) { return (uint32_t)(now_us() / 1000U); }

static void put(void *context, const uint8_t *bytes, size_t count) {
  const port *here = context;
  while (count > 0) {
    const ssize_t sent = here->is_stream ? write(here->line, bytes, count) : send(here->line, bytes, count, 0);
    if (!here->is_stream) {
      return; /* a datagram that could not be sent is one that was lost */
    }
    if (sent < 0 && errno != EINTR) {
      fail("the line", strerror(errno));
    }
    if (sent > 0) {
      bytes += sent;
      count -= (size_t)sent;
    }
  }
}

static bridge_ack_result show(void *context, const bridge_caption *caption) {
  port *here = context;
  const bridge_ack_result result = bridge_screen_show(&here->screen, caption, now_ms());
  if (result == BRIDGE_DONE) {
    (void)printf("caption %u priority %u for %u s: %.*s\n", caption->id, caption->priority, caption->show_s,
                 (int)caption->text.count, (const char *)caption->text.bytes);
    (void)fflush(stdout);
  }
  return result;
}

static bridge_ack_result play(void *context, const bridge_alert *alert) {
  (void)context;
  (void)printf("alert %u priority %u pattern %u for %u s\n", alert->id, alert->priority, alert->pattern,
               alert->seconds);
  (void)fflush(stdout);
  return BRIDGE_DONE;
}

static void set_time(void *context, uint64_t unix_ms) {
  (void)context;
  (void)printf("time %llu\n", (unsigned long long)unix_ms);
  (void)fflush(stdout);
}

static const char *value_of(int *index, int count, char **words) {
  if (*index + 1 >= count) {
    fail(words[*index], "its value is missing");
  }
  (*index)++;
  return words[*index];
}

static bool is_word(const char *word, const char *option) { return strcmp(word, option) == 0; }

static double number_of(const char *option, const char *text, double lowest) {
  char *end = NULL;
  const double number = strtod(text, &end);
  if (end == text || *end != '\0' || !(number >= lowest)) {
    fail(option, "a number is wanted");
  }
  return number;
}

static options parse(int count, char **words) {
  options chosen = {.name = "stream_wav", .baud = 921600UL, .id = 1, .speed = 1.0, .stay_s = 5.0};
  for (int index = 1; index < count; index++) {
    const char *word = words[index];
    if (is_word(word, "--serial")) {
      chosen.serial = value_of(&index, count, words);
    } else if (is_word(word, "--baud")) {
      chosen.baud = strtoul(value_of(&index, count, words), NULL, 10);
    } else if (is_word(word, "--udp")) {
      chosen.udp = value_of(&index, count, words);
    } else if (is_word(word, "--key-file")) {
      chosen.key_file = value_of(&index, count, words);
    } else if (is_word(word, "--id")) {
      chosen.id = strtoull(value_of(&index, count, words), NULL, 0);
    } else if (is_word(word, "--name")) {
      chosen.name = value_of(&index, count, words);
    } else if (is_word(word, "--speed")) {
      chosen.speed = number_of(word, value_of(&index, count, words), 0.01);
    } else if (is_word(word, "--stay")) {
      chosen.stay_s = number_of(word, value_of(&index, count, words), 0.0);
    } else if (is_word(word, "--plain")) {
      chosen.plain = true;
    } else if (is_word(word, "--adpcm")) {
      chosen.adpcm = true;
    } else if (is_word(word, "--gate")) {
      chosen.gate = true;
    } else if (word[0] == '-' || chosen.file != NULL) {
      (void)fputs(USAGE, stderr);
      exit(2);
    } else {
      chosen.file = word;
    }
  }
  const bool one_link = (chosen.serial == NULL) != (chosen.udp == NULL);
  const bool secured = chosen.udp == NULL || (chosen.key_file == NULL) == chosen.plain;
  if (chosen.file == NULL || !one_link || !secured) {
    (void)fputs(USAGE, stderr);
    exit(2);
  }
  return chosen;
}

/* What an interrupt would do: gives the ring the samples that are due, from the moment at which a host answered. Unlike a
 * microphone the file waits for room in the ring, so that a busy computer loses nothing. */
static size_t record(bridge_ring *ring, const wav *sound, size_t given, uint64_t elapsed_us, double speed) {
  const double due = (double)elapsed_us * 1e-6 * speed * sound->rate_hz;
  size_t wanted = (size_t)due * sound->channels;
  if (wanted > sound->count) {
    wanted = sound->count;
  }
  size_t room = RING_SAMPLES - bridge_ring_readable(ring);
  room -= room % sound->channels;
  if (wanted - given > room) {
    wanted = given + room;
  }
  while (given < wanted) {
    const int16_t samples[2] = {wav_sample(sound, given), wav_sample(sound, given + sound->channels - 1U)};
    bridge_ring_write(ring, samples, sound->channels);
    given += sound->channels;
  }
  return given;
}

/* 20 ms, or the half of it while a frame would be too long. */
static uint16_t frame_samples_of(const wav *sound, uint8_t codec) {
  uint16_t samples = (uint16_t)(sound->rate_hz * MS_OF_A_FRAME / 1000U);
  while (bridge_payload_bytes(codec, sound->channels, samples) > LONGEST_PAYLOAD) {
    samples = (uint16_t)(samples / 2U);
  }
  return samples;
}

static void listen_once(bridge_device *device, const port *here, int wait_ms) {
  uint8_t bytes[BRIDGE_DATAGRAM_BYTES + 1U];
  struct pollfd ready = {.fd = here->line, .events = POLLIN};
  if (poll(&ready, 1, wait_ms) > 0) {
    const ssize_t count = here->is_stream ? read(here->line, bytes, sizeof bytes) : recv(here->line, bytes, sizeof bytes, 0);
    if (count > 0) {
      bridge_device_receive(device, bytes, (size_t)count, now_ms());
    } else if (here->is_stream && count == 0) {
      fail("the line", "it was closed");
    }
  }
}

static void run(bridge_device *device, bridge_microphone *microphone, port *here, const wav *sound,
                const options *chosen) {
  size_t given = 0;
  uint64_t began_us = 0;
  uint64_t ended_us = 0;
  while (ended_us == 0 || (double)(now_us() - ended_us) < chosen->stay_s * 1e6) {
    if (began_us == 0 && device->linked) {
      began_us = now_us();
    }
    if (began_us > 0 && given < sound->count) {
      given = record(microphone->ring, sound, given, now_us() - began_us, chosen->speed);
    } else if (began_us > 0 && ended_us == 0) {
      bridge_microphone_flush(microphone);
      ended_us = now_us();
    }
    const bool more = bridge_device_poll(device, now_ms());
    listen_once(device, here, more ? 0 : 1);
    if (bridge_screen_update(&here->screen, now_ms())) {
      for (uint8_t row = 0; row < ROWS; row++) {
        (void)printf("screen |%s|\n", bridge_screen_row(&here->screen, row));
      }
      (void)fflush(stdout);
    }
  }
  (void)printf("sent %lu frames, gated %lu samples, lost %lu samples, refused %lu frames, showed %lu captions\n",
               (unsigned long)device->frames_sent, (unsigned long)microphone->gated_samples,
               (unsigned long)microphone->overrun_samples, (unsigned long)device->frames_refused,
               (unsigned long)device->captions_shown);
}

int main(int count, char **words) {
  static int16_t samples[RING_SAMPLES];
  static uint8_t out[BRIDGE_DATAGRAM_BYTES];
  static uint8_t in[BRIDGE_INPUT_ROOM(BRIDGE_TEXT_BYTES)];
  static uint8_t before[BEFORE_FRAMES * BRIDGE_FRAME_BYTES];
  static char cells[ROWS * BRIDGE_ROW_BYTES(COLUMNS)];
  static const bridge_gate_settings GATE = {
      .above_db = GATE_ABOVE_DB, .always_db = GATE_ALWAYS_DB, .hold_frames = GATE_HOLD_FRAMES};
  const options chosen = parse(count, words);
  uint8_t key[BRIDGE_KEY_BYTES] = {0};
  wav sound;
  port here = {.is_stream = chosen.serial != NULL};
  bridge_ring ring;
  bridge_microphone microphone;
  bridge_device device;

  const char *fault = wav_read(chosen.file, &sound);
  if (fault != NULL) {
    fail(chosen.file, fault);
  }
  if (chosen.key_file != NULL) {
    read_key(chosen.key_file, key);
  }
  here.line = here.is_stream ? open_serial(chosen.serial, chosen.baud) : open_udp(chosen.udp);
  bridge_screen_init(&here.screen, cells, ROWS, COLUMNS);

  const uint8_t codec = chosen.adpcm ? BRIDGE_ADPCM : BRIDGE_PCM;
  const bridge_microphone_settings hearing = {
      .rate_hz = sound.rate_hz,
      .channels = sound.channels,
      .codec = codec,
      .frame_samples = frame_samples_of(&sound, codec),
      .gate = chosen.gate ? &GATE : NULL,
      .before = chosen.gate ? before : NULL,
      .before_frames = chosen.gate ? BEFORE_FRAMES : 0,
  };
  const bridge_device_settings settings = {
      .device = chosen.id,
      .boot = random_number(),
      .name = chosen.name,
      .firmware = "stream_wav 1",
      .link = here.is_stream ? BRIDGE_STREAM : (chosen.plain ? BRIDGE_PLAIN : BRIDGE_SEALED),
      .key = key,
      .out = out,
      .out_bytes = sizeof out,
      .in = in,
      .in_bytes = sizeof in,
      .caption_bytes = BRIDGE_TEXT_BYTES,
      .put = put,
      .show = show,
      .play = play,
      .set_time = set_time,
      .context = &here,
  };
  if (!bridge_ring_init(&ring, samples, RING_SAMPLES) || !bridge_microphone_init(&microphone, &hearing, &ring) ||
      !bridge_device_init(&device, &settings, &microphone, now_ms())) {
    fail(chosen.file, "these settings are not possible");
  }
  run(&device, &microphone, &here, &sound, &chosen);
  free(sound.file);
  return 0;
}
