#pragma once

#include <cstdint>
#include <cstring>

struct __nv_bfloat16 {
  uint16_t bits;

  __nv_bfloat16() = default;
  explicit __nv_bfloat16(float value) {
    uint32_t all;
    memcpy(&all, &value, 4);
    bits = (all + 0x7fff + ((all >> 16) & 1)) >> 16;
  }
  operator float() const {
    const uint32_t all = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &all, 4);
    return value;
  }
};
