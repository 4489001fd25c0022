// An ESP32 board with an I2S microphone (INMP441), over USB serial, captions on an SSD1306. Not built where this project is
// tested; see ../README.md.
#include <Adafruit_SSD1306.h>
#include <ESP_I2S.h>
#include <Wire.h>
#include <bridge/device.h>
#include <bridge/screen.h>

static const uint32_t RATE_HZ = 16000;
static const uint16_t FRAME_SAMPLES = 320;
static const uint32_t RING_SAMPLES = 2048;
static const uint8_t ROWS = 4, COLUMNS = 21;
static const int PIN_CLOCK = 14, PIN_WORD = 15, PIN_DATA = 32, PIN_VIBRATOR = 25;

static int16_t samples[RING_SAMPLES];
static uint8_t out_room[BRIDGE_HEADER_BYTES + BRIDGE_AUDIO_HEAD_BYTES + 2 * FRAME_SAMPLES + BRIDGE_CRC_BYTES];
static uint8_t in_room[BRIDGE_INPUT_ROOM(84)];
static char cells[ROWS * BRIDGE_ROW_BYTES(COLUMNS)];
static bridge_ring ring;
static bridge_microphone microphone;
static bridge_device device;
static bridge_screen screen;
static uint32_t alert_until_ms;
static uint8_t alert_pattern = BRIDGE_STOP;
static I2SClass i2s;
static Adafruit_SSD1306 display(128, 32, &Wire);

static void put(void *, const uint8_t *bytes, size_t count) { Serial.write(bytes, count); }

static bridge_ack_result show(void *, const bridge_caption *caption) {
  return bridge_screen_show(&screen, caption, millis());
}

static bridge_ack_result play(void *, const bridge_alert *alert) {
  alert_pattern = alert->pattern;
  alert_until_ms = millis() + (alert->seconds > 0 ? alert->seconds : 1) * 1000UL;
  return BRIDGE_DONE;
}

// One, two or three short, or long ones, each second.
static bool vibrates(uint32_t now) {
  const uint32_t at = now % 1000;
  switch (alert_pattern) {
    case BRIDGE_ONE_SHORT:
    case BRIDGE_TWO_SHORT:
    case BRIDGE_THREE_SHORT:
      return at % 250 < 120 && at / 250 < alert_pattern;
    case BRIDGE_LONG:
      return at < 800;
    case BRIDGE_IN_TURNS:
      return now / 1000 % 2 == 0 ? at < 800 : at % 250 < 120;
    default:
      return false;
  }
}

static void listen_task(void *) {
  static int32_t words[160];
  static int16_t block[160];
  for (;;) {
    const size_t count = i2s.readBytes((char *)words, sizeof words) / sizeof words[0];
    for (size_t index = 0; index < count; index++) {
      block[index] = (int16_t)(words[index] >> 16);
    }
    bridge_ring_write(&ring, block, count);
  }
}

void setup() {
  Serial.setTxBufferSize(2048);
  Serial.begin(921600);
  pinMode(PIN_VIBRATOR, OUTPUT);
  display.begin(SSD1306_SWITCHCAPVCC, 0x3C);
  bridge_screen_init(&screen, cells, ROWS, COLUMNS);

  bridge_microphone_settings hearing = {};
  hearing.rate_hz = RATE_HZ;
  hearing.channels = 1;
  hearing.codec = BRIDGE_PCM;
  hearing.frame_samples = FRAME_SAMPLES;

  bridge_device_settings settings = {};
  settings.device = ESP.getEfuseMac();
  settings.boot = esp_random();
  settings.name = "arduino";
  settings.firmware = "1.0.0";
  settings.link = BRIDGE_STREAM;
  settings.out = out_room;
  settings.out_bytes = sizeof out_room;
  settings.in = in_room;
  settings.in_bytes = sizeof in_room;
  settings.caption_bytes = 84;
  settings.put = put;
  settings.show = show;
  settings.play = play;

  i2s.setPins(PIN_CLOCK, PIN_WORD, -1, PIN_DATA);
  const bool works = bridge_ring_init(&ring, samples, RING_SAMPLES) &&
                     bridge_microphone_init(&microphone, &hearing, &ring) &&
                     bridge_device_init(&device, &settings, &microphone, millis()) &&
                     i2s.begin(I2S_MODE_STD, RATE_HZ, I2S_DATA_BIT_WIDTH_32BIT, I2S_SLOT_MODE_MONO, I2S_STD_SLOT_LEFT);
  if (!works) {
    for (;;) delay(1000);
  }
  xTaskCreatePinnedToCore(listen_task, "listen", 4096, nullptr, configMAX_PRIORITIES - 2, nullptr, 0);
}

void loop() {
  uint8_t bytes[64];
  const size_t waiting = Serial.available();
  const size_t count = Serial.readBytes(bytes, waiting < sizeof bytes ? waiting : sizeof bytes);
  bridge_device_receive(&device, bytes, count, millis());
  const bool more = bridge_device_poll(&device, millis());
  const uint32_t now = millis();
  if ((int32_t)(now - alert_until_ms) >= 0) {
    alert_pattern = BRIDGE_STOP;
  }
  digitalWrite(PIN_VIBRATOR, vibrates(now) ? HIGH : LOW);
  if (bridge_screen_update(&screen, now)) {
    display.clearDisplay();
    display.setTextColor(SSD1306_WHITE);
    for (uint8_t row = 0; row < ROWS; row++) {
      display.setCursor(0, row * 8);
      display.print(bridge_screen_row(&screen, row));
    }
    display.display();
  }
  if (count == 0 && !more) {
    delay(2);
  }
}
