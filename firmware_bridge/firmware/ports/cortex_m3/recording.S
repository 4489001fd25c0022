    .section .recording, "a", %progbits
    .incbin "recording.bin"
