// Products of 16 x 16 matrices. Each thread holds whole matrices and reads them itself; a warp's threads share the writing,
// as on the device, so that a barrier that is missing shows.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace nvcuda::wmma {

struct matrix_a;
struct matrix_b;
struct accumulator;
struct row_major;
struct col_major;
enum layout_t { mem_row_major };

template <class Use, int, int, int, class T, class Layout = void> struct fragment {
  float at[16][16];
};

// What the device demands of a matrix in memory.
template <class T> void check(const T *from, unsigned line) {
  if ((uintptr_t)from % 32 || line * sizeof(T) % 16) {
    fprintf(stderr, "a matrix that is not aligned\n");
    abort();
  }
}

template <class Fragment, class T> void read(Fragment &to, const T *from, unsigned down, unsigned across) {
  for (int i = 0; i < 16; i++) {
    for (int j = 0; j < 16; j++) {
      to.at[i][j] = (float)from[i * down + j * across];
    }
  }
}

template <class Use, class T> void load_matrix_sync(fragment<Use, 16, 16, 16, T, row_major> &to, const T *from, unsigned line) {
  check(from, line);
  read(to, from, line, 1);
}

template <class Use, class T> void load_matrix_sync(fragment<Use, 16, 16, 16, T, col_major> &to, const T *from, unsigned line) {
  check(from, line);
  read(to, from, 1, line);
}

inline void load_matrix_sync(fragment<accumulator, 16, 16, 16, float> &to, const float *from, unsigned line, layout_t) {
  check(from, line);
  read(to, from, line, 1);
}

inline void store_matrix_sync(float *to, const fragment<accumulator, 16, 16, 16, float> &from, unsigned line, layout_t) {
  check(to, line);
  for (int i = threadIdx.x % 32; i < 256; i += 32) {
    to[i / 16 * line + i % 16] = from.at[i / 16][i % 16];
  }
}

inline void fill_fragment(fragment<accumulator, 16, 16, 16, float> &to, float value) {
  for (auto &row : to.at) {
    for (float &number : row) {
      number = value;
    }
  }
}

template <class A, class B>
void mma_sync(fragment<accumulator, 16, 16, 16, float> &to, const A &a, const B &b, const fragment<accumulator, 16, 16, 16, float> &c) {
  fragment<accumulator, 16, 16, 16, float> sums = c;
  for (int i = 0; i < 16; i++) {
    for (int j = 0; j < 16; j++) {
      for (int k = 0; k < 16; k++) {
        sums.at[i][j] += a.at[i][k] * b.at[k][j];
      }
    }
  }
  to = sums;
}

} // namespace nvcuda::wmma
