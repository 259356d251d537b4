// The words that kernels are written in. On a GPU each is an instruction or two; emulate.h has the same words for a CPU.
#pragma once
#ifdef __CUDACC__
typedef unsigned short bf16;
typedef unsigned int u32;
typedef unsigned char u8;
typedef signed char i8;
#define DEVICE static __device__ __forceinline__
#define KERNEL extern "C" __global__ void
#define SHARED __shared__
#define UNROLL _Pragma("unroll")

DEVICE float widen(bf16 x) { return __uint_as_float((u32)x << 16); }
// Two numbers, the first in the lower half; rounded to nearest, ties to even.
DEVICE u32 pack(float low, float high) {
    u32 out;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(high), "f"(low));
    return out;
}
DEVICE float low(u32 pair) { return __uint_as_float(pair << 16); }
DEVICE float high(u32 pair) { return __uint_as_float(pair & 0xffff0000u); }
DEVICE u32 bits_of(float x) { return __float_as_uint(x); }
DEVICE u32 shared_address(const void *p) { return (u32)__cvta_generic_to_shared(p); }
// 16 bytes to shared memory, or zeros. They are there after `wait_for` and, for other threads, a barrier.
DEVICE void copy16(void *to, const void *from, bool there) {
    int bytes = there ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(bytes));
}
DEVICE void commit() { asm volatile("cp.async.commit_group;"); }
// Waits until at most N groups of copies are under way.
template <int N> DEVICE void wait_for() { asm volatile("cp.async.wait_group %0;" ::"n"(N)); }
// Four 8 x 8 matrices of bf16; lane i names row i % 8 of matrix i / 8.
DEVICE void load_matrices(u32 (&out)[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3]) : "r"(shared_address(row)));
}
DEVICE void load_transposed(u32 (&out)[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3]) : "r"(shared_address(row)));
}
// c (16, 8) += a (16, 16) b (16, 8). Not volatile: loads of what follows may be moved before it.
DEVICE void multiply(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
DEVICE float shuffle_xor(float x, int mask) { return __shfl_xor_sync(0xffffffffu, x, mask); }
DEVICE void barrier() { __syncthreads(); }
DEVICE void warp_barrier() { __syncwarp(); }
DEVICE float exp2_of(float x) { return exp2f(x); }
DEVICE char *dynamic_shared() { extern __shared__ __align__(128) char memory[]; return memory; }
DEVICE void add_global(float *p, float x) { atomicAdd(p, x); }
// How many have been counted before this one.
DEVICE u32 count_one(u32 *count) { return atomicAdd(count, 1u); }
// Of memory that no kernel writes meanwhile and that is read once.
DEVICE uint4 load_streaming(const void *p) {
    uint4 v;
    asm("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p));
    return v;
}
#else
#include "emulate.h"
#endif

DEVICE bf16 round_to_bf16(float x) { return (bf16)(pack(x, 0) & 0xffff); }
DEVICE float sum_over_warp(float x) {
    for (int mask = 16; mask; mask /= 2) x += shuffle_xor(x, mask);
    return x;
}
// Every thread of the block, a multiple of 32, gets the sum.
DEVICE float sum_over_block(float x) {
    SHARED float parts[32];
    x = sum_over_warp(x);
    barrier();   // who still reads the parts of the sum before
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x;
    barrier();
    float sum = 0;
    for (unsigned i = 0; i < blockDim.x / 32; i++) sum += parts[i];
    return sum;
}
