// Of the CUDA language and runtime what kernels/attention.cu uses, for a C++ compiler: one thread of the processor for each
// of a block's, barriers for the block and for each warp.
#pragma once

#include <barrier>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

struct Place {
  int x, y, z;
};
struct Block {
  std::barrier<> all{128};
  std::barrier<> warps[4] = {std::barrier<>{32}, std::barrier<>{32}, std::barrier<>{32}, std::barrier<>{32}};
  float shuffled[128];
};
inline thread_local Place threadIdx, blockIdx;
inline std::unique_ptr<Block> block;

#define __device__
#define __global__
// One block at a time has it.
#define __shared__ static
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __launch_bounds__(threads)
#define __CUDA_ARCH__ 900

struct uint4 {
  unsigned x, y, z, w;
};
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline void __syncthreads() { block->all.arrive_and_wait(); }
inline void __syncwarp() { block->warps[threadIdx.x / 32].arrive_and_wait(); }
inline float __shfl_xor_sync(unsigned, float value, int mask) {
  block->shuffled[threadIdx.x] = value;
  __syncwarp();
  const float other = block->shuffled[threadIdx.x ^ mask];
  __syncwarp();
  return other;
}
inline float __expf(float x) { return expf(x); }

using __half = _Float16;
