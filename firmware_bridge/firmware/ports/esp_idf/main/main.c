/* ESP32 with an I2S microphone, over authenticated UDP. Not built where this project is tested; see ../README.md. */
#include <stdlib.h>
#include <string.h>

#include "bridge/device.h"
#include "bridge/screen.h"
#include "driver/i2s_std.h"
#include "esp_event.h"
#include "esp_log.h"
#include "esp_mac.h"
#include "esp_netif.h"
#include "esp_random.h"
#include "esp_timer.h"
#include "esp_wifi.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"
#include "lwip/sockets.h"
#include "nvs_flash.h"

#define RATE_HZ 16000U
#define FRAME_SAMPLES 320U
#define RING_SAMPLES 4096U /* a quarter of a second: Wi-Fi sends again, and that takes its time */
#define BLOCK_SAMPLES 160U
#define BEFORE_FRAMES 10U
#define ROWS 4U
#define COLUMNS 21U
#define PIN_CLOCK GPIO_NUM_14
#define PIN_WORD GPIO_NUM_15
#define PIN_DATA GPIO_NUM_32

static const char TAG[] = "edge-aac";

static bridge_ring ring;
static bridge_microphone microphone;
static bridge_device device;
static bridge_screen screen;
static int line = -1;

static uint32_t now_ms(void) { return (uint32_t)(esp_timer_get_time() / 1000); }

/* Core 1: from the I2S driver's DMA to the ring. These microphones give 24 bits in 32. */
static void listen_task(void *argument) {
  static int32_t words[BLOCK_SAMPLES];
  static int16_t block[BLOCK_SAMPLES];
  i2s_chan_handle_t channel = argument;
  for (;;) {
    size_t bytes = 0;
    if (i2s_channel_read(channel, words, sizeof words, &bytes, portMAX_DELAY) != ESP_OK) {
      continue;
    }
    const uint32_t count = bytes / sizeof words[0];
    for (uint32_t index = 0; index < count; index++) {
      block[index] = (int16_t)(words[index] >> 16);
    }
    bridge_ring_write(&ring, block, count);
  }
}

static i2s_chan_handle_t start_microphone(void) {
  i2s_chan_handle_t channel = NULL;
  const i2s_chan_config_t config = I2S_CHANNEL_DEFAULT_CONFIG(I2S_NUM_AUTO, I2S_ROLE_MASTER);
  ESP_ERROR_CHECK(i2s_new_channel(&config, NULL, &channel));
  i2s_std_config_t standard = {
      .clk_cfg = I2S_STD_CLK_DEFAULT_CONFIG(RATE_HZ),
      .slot_cfg = I2S_STD_PHILIPS_SLOT_DEFAULT_CONFIG(I2S_DATA_BIT_WIDTH_32BIT, I2S_SLOT_MODE_MONO),
      .gpio_cfg = {.mclk = I2S_GPIO_UNUSED, .bclk = PIN_CLOCK, .ws = PIN_WORD, .dout = I2S_GPIO_UNUSED, .din = PIN_DATA},
  };
  standard.slot_cfg.slot_mask = I2S_STD_SLOT_LEFT;
  ESP_ERROR_CHECK(i2s_channel_init_std_mode(channel, &standard));
  ESP_ERROR_CHECK(i2s_channel_enable(channel));
  return channel;
}

static void on_wifi(void *argument, esp_event_base_t base, int32_t event, void *data) {
  (void)argument;
  (void)base;
  (void)data;
  if (event == WIFI_EVENT_STA_START || event == WIFI_EVENT_STA_DISCONNECTED) {
    esp_wifi_connect();
  }
}

static void start_wifi(void) {
  ESP_ERROR_CHECK(nvs_flash_init());
  ESP_ERROR_CHECK(esp_netif_init());
  ESP_ERROR_CHECK(esp_event_loop_create_default());
  esp_netif_create_default_wifi_sta();
  const wifi_init_config_t init = WIFI_INIT_CONFIG_DEFAULT();
  ESP_ERROR_CHECK(esp_wifi_init(&init));
  ESP_ERROR_CHECK(esp_event_handler_register(WIFI_EVENT, ESP_EVENT_ANY_ID, on_wifi, NULL));
  wifi_config_t config = {0};
  strlcpy((char *)config.sta.ssid, CONFIG_EDGE_AAC_SSID, sizeof config.sta.ssid);
  strlcpy((char *)config.sta.password, CONFIG_EDGE_AAC_PASSWORD, sizeof config.sta.password);
  ESP_ERROR_CHECK(esp_wifi_set_mode(WIFI_MODE_STA));
  ESP_ERROR_CHECK(esp_wifi_set_config(WIFI_IF_STA, &config));
  /* Sound goes out each 20 ms: a radio that sleeps would only wake for each. */
  ESP_ERROR_CHECK(esp_wifi_set_ps(WIFI_PS_NONE));
  ESP_ERROR_CHECK(esp_wifi_start());
}

static void open_line(void) {
  struct sockaddr_in host = {.sin_family = AF_INET, .sin_port = htons(CONFIG_EDGE_AAC_PORT)};
  host.sin_addr.s_addr = inet_addr(CONFIG_EDGE_AAC_HOST);
  line = socket(AF_INET, SOCK_DGRAM, 0);
  ESP_ERROR_CHECK(line >= 0 && connect(line, (struct sockaddr *)&host, sizeof host) == 0 ? ESP_OK : ESP_FAIL);
}

static void put(void *context, const uint8_t *bytes, size_t count) {
  (void)context;
  (void)send(line, bytes, count, 0); /* what cannot be sent is lost; the host counts it */
}

static bridge_ack_result show(void *context, const bridge_caption *caption) {
  (void)context;
  return bridge_screen_show(&screen, caption, now_ms());
}

static void describe(void *context, bridge_status *status) {
  wifi_ap_record_t station;
  (void)context;
  if (esp_wifi_sta_get_ap_info(&station) == ESP_OK) {
    status->rssi_dbm = station.rssi;
  }
}

static void draw(void) {
  for (uint8_t row = 0; row < ROWS; row++) {
    ESP_LOGI(TAG, "|%s|", bridge_screen_row(&screen, row)); /* your display's driver comes here */
  }
}

static uint8_t digit(char letter) {
  if (letter >= '0' && letter <= '9') {
    return (uint8_t)(letter - '0');
  }
  return (uint8_t)((letter | 0x20) - 'a' + 10);
}

static void read_key(uint8_t key[BRIDGE_KEY_BYTES]) {
  static const char TEXT[] = CONFIG_EDGE_AAC_KEY;
  ESP_ERROR_CHECK(sizeof TEXT - 1U == 2U * BRIDGE_KEY_BYTES ? ESP_OK : ESP_ERR_INVALID_ARG);
  for (unsigned index = 0; index < BRIDGE_KEY_BYTES; index++) {
    key[index] = (uint8_t)(digit(TEXT[2U * index]) << 4 | digit(TEXT[2U * index + 1U]));
  }
}

static uint64_t device_id(void) {
  uint8_t mac[6];
  uint64_t id = 0;
  ESP_ERROR_CHECK(esp_read_mac(mac, ESP_MAC_WIFI_STA));
  for (unsigned index = 0; index < sizeof mac; index++) {
    id = id << 8 | mac[index];
  }
  return id;
}

void app_main(void) {
  static int16_t samples[RING_SAMPLES];
  static uint8_t before[BEFORE_FRAMES * (BRIDGE_BLOCK_HEAD_BYTES + FRAME_SAMPLES / 2U)];
  static uint8_t out[BRIDGE_HELLO_ROOM + BRIDGE_AUDIO_HEAD_BYTES + FRAME_SAMPLES];
  static char cells[ROWS * BRIDGE_ROW_BYTES(COLUMNS)];
  static const bridge_gate_settings GATE = {.above_db = 6, .always_db = 45, .hold_frames = 150};
  static uint8_t bytes[BRIDGE_DATAGRAM_BYTES + 1U];
  uint8_t key[BRIDGE_KEY_BYTES];
  read_key(key);
  start_wifi();
  open_line();
  const bridge_microphone_settings hearing = {
      .rate_hz = RATE_HZ, .channels = 1, .codec = BRIDGE_ADPCM, .frame_samples = FRAME_SAMPLES, .gate = &GATE,
      .before = before, .before_frames = BEFORE_FRAMES};
  const bridge_device_settings settings = {
      .device = device_id(), .boot = esp_random(), .name = CONFIG_EDGE_AAC_NAME, .firmware = "1.0.0",
      .link = BRIDGE_SEALED, .key = key, .out = out, .out_bytes = sizeof out, .caption_bytes = ROWS * COLUMNS,
      .put = put, .show = show, .describe = describe};
  bridge_screen_init(&screen, cells, ROWS, COLUMNS);
  ESP_ERROR_CHECK(bridge_ring_init(&ring, samples, RING_SAMPLES) &&
                          bridge_microphone_init(&microphone, &hearing, &ring) &&
                          bridge_device_init(&device, &settings, &microphone, now_ms())
                      ? ESP_OK
                      : ESP_ERR_INVALID_ARG);
  xTaskCreatePinnedToCore(listen_task, "listen", 4096, start_microphone(), configMAX_PRIORITIES - 2, NULL, 1);
  for (;;) {
    const ssize_t count = recv(line, bytes, sizeof bytes, MSG_DONTWAIT);
    if (count > 0) {
      bridge_device_receive(&device, bytes, (size_t)count, now_ms());
    }
    const bool more = bridge_device_poll(&device, now_ms());
    if (bridge_screen_update(&screen, now_ms())) {
      draw();
    }
    if (count <= 0 && !more) {
      vTaskDelay(pdMS_TO_TICKS(10));
    }
  }
}
