/* A board with a digital microphone, over a UART. Not built where this project is tested; see ../README.md. */
#include <string.h>

#include <zephyr/audio/dmic.h>
#include <zephyr/device.h>
#include <zephyr/drivers/hwinfo.h>
#include <zephyr/drivers/uart.h>
#include <zephyr/kernel.h>
#include <zephyr/logging/log.h>
#include <zephyr/random/random.h>
#include <zephyr/sys/ring_buffer.h>

#include "bridge/device.h"
#include "bridge/screen.h"

LOG_MODULE_REGISTER(edge_aac);

#define RATE_HZ 16000U
#define FRAME_SAMPLES 320U
#define RING_SAMPLES 1024U
#define BLOCK_SAMPLES 160U /* 10 ms */
#define BLOCK_BYTES (BLOCK_SAMPLES * sizeof(int16_t))
#define BLOCKS 4
#define ROWS 4U
#define COLUMNS 21U
#define CAPTION_BYTES 84U

K_MEM_SLAB_DEFINE_STATIC(blocks, BLOCK_BYTES, BLOCKS, 4);
RING_BUF_DECLARE(received, 512);

static const struct device *const uart = DEVICE_DT_GET(DT_CHOSEN(edge_aac_link));
static const struct device *const dmic = DEVICE_DT_GET(DT_NODELABEL(dmic_dev));
static bridge_ring ring;
static bridge_microphone microphone;
static bridge_device bridge;
static bridge_screen screen;

static void on_uart(const struct device *port, void *context) {
  uint8_t bytes[16];
  ARG_UNUSED(context);
  while (uart_irq_update(port) > 0 && uart_irq_rx_ready(port) > 0) {
    const int count = uart_fifo_read(port, bytes, sizeof bytes);
    if (count > 0) {
      (void)ring_buf_put(&received, bytes, (uint32_t)count);
    }
  }
}

static void put(void *context, const uint8_t *bytes, size_t count) {
  ARG_UNUSED(context);
  for (size_t index = 0; index < count; index++) {
    uart_poll_out(uart, bytes[index]);
  }
}

static bridge_ack_result show(void *context, const bridge_caption *caption) {
  ARG_UNUSED(context);
  return bridge_screen_show(&screen, caption, k_uptime_get_32());
}

static void listen(void *first, void *second, void *third) {
  ARG_UNUSED(first);
  ARG_UNUSED(second);
  ARG_UNUSED(third);
  for (;;) {
    void *block = NULL;
    uint32_t bytes = 0;
    if (dmic_read(dmic, 0, &block, &bytes, 1000) == 0) {
      bridge_ring_write(&ring, block, bytes / sizeof(int16_t));
      k_mem_slab_free(&blocks, block);
    }
  }
}
K_THREAD_DEFINE(listener, 1024, listen, NULL, NULL, NULL, K_PRIO_COOP(1), 0, K_TICKS_FOREVER);

static int start_microphone(void) {
  static struct pcm_stream_cfg stream = {
      .pcm_rate = RATE_HZ, .pcm_width = 16, .block_size = BLOCK_BYTES, .mem_slab = &blocks};
  struct dmic_cfg config = {
      .io = {.min_pdm_clk_freq = 1000000, .max_pdm_clk_freq = 3500000, .min_pdm_clk_dc = 40, .max_pdm_clk_dc = 60},
      .streams = &stream,
      .channel = {.req_num_streams = 1, .req_num_chan = 1},
  };
  config.channel.req_chan_map_lo = dmic_build_channel_map(0, 0, PDM_CHAN_LEFT);
  const int fault = dmic_configure(dmic, &config);
  return fault < 0 ? fault : dmic_trigger(dmic, DMIC_TRIGGER_START);
}

static uint64_t device_id(void) {
  uint8_t bytes[8] = {0};
  uint64_t id = 0;
  (void)hwinfo_get_device_id(bytes, sizeof bytes);
  memcpy(&id, bytes, sizeof id);
  return id == 0 ? 1 : id;
}

int main(void) {
  static int16_t samples[RING_SAMPLES];
  static uint8_t out[BRIDGE_HEADER_BYTES + BRIDGE_AUDIO_HEAD_BYTES + 2U * FRAME_SAMPLES + BRIDGE_CRC_BYTES];
  static uint8_t in[BRIDGE_INPUT_ROOM(CAPTION_BYTES)];
  static char cells[ROWS * BRIDGE_ROW_BYTES(COLUMNS)];
  const bridge_microphone_settings hearing = {
      .rate_hz = RATE_HZ, .channels = 1, .codec = BRIDGE_PCM, .frame_samples = FRAME_SAMPLES};
  const bridge_device_settings settings = {
      .device = device_id(), .boot = sys_rand32_get(), .name = "zephyr", .firmware = "1.0.0", .link = BRIDGE_STREAM,
      .out = out, .out_bytes = sizeof out, .in = in, .in_bytes = sizeof in, .caption_bytes = CAPTION_BYTES, .put = put,
      .show = show};
  bridge_screen_init(&screen, cells, ROWS, COLUMNS);
  if (!bridge_ring_init(&ring, samples, RING_SAMPLES) || !bridge_microphone_init(&microphone, &hearing, &ring) ||
      !bridge_device_init(&bridge, &settings, &microphone, k_uptime_get_32()) || !device_is_ready(uart) ||
      start_microphone() < 0) {
    LOG_ERR("the board has no microphone or link as it is set up");
    return 1;
  }
  k_thread_start(listener);
  (void)uart_irq_callback_user_data_set(uart, on_uart, NULL);
  uart_irq_rx_enable(uart);
  for (;;) {
    uint8_t bytes[64];
    const uint32_t count = ring_buf_get(&received, bytes, sizeof bytes);
    bridge_device_receive(&bridge, bytes, count, k_uptime_get_32());
    const bool more = bridge_device_poll(&bridge, k_uptime_get_32());
    if (bridge_screen_update(&screen, k_uptime_get_32())) {
      for (uint8_t row = 0; row < ROWS; row++) {
        LOG_INF("|%s|", bridge_screen_row(&screen, row)); /* your display's driver comes here */
      }
    }
    if (count == 0 && !more) {
      k_msleep(2);
    }
  }
  return 0;
}
