// The words of device.cuh on a CPU, for tests. A thread of a block is a fiber, blocks run one after the other, and which
// fiber runs next is left to chance: a missing barrier shows as a wrong result. Shared memory begins as NaNs.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>
typedef unsigned short bf16;
typedef unsigned int u32;
typedef unsigned char u8;
typedef signed char i8;
#define DEVICE static inline
#define KERNEL static void
#define SHARED static thread_local
#define UNROLL
#define __launch_bounds__(...)
#define __restrict__
#define __device__
#define __forceinline__ inline
struct uint4 { u32 x, y, z, w; };
struct uint2 { u32 x, y; };
struct int4 { int x, y, z, w; };
struct float4 { float x, y, z, w; };
struct float2 { float x, y; };
struct Index { unsigned x, y, z; };

// A switch from one stack to another.
#ifdef __x86_64__
extern "C" void secateur_switch(void **save, void *load);
asm(R"(
.text
.globl secateur_switch
.type secateur_switch, @function
secateur_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size secateur_switch, .-secateur_switch
)");
struct Context { void *stack_pointer; };
static void begin(Context &context, char *stack, size_t size, void (*entry)()) {
    uintptr_t top = ((uintptr_t)stack + size) & ~(uintptr_t)15;
    void **frame = (void **)(top - 16);
    *frame = (void *)entry;
    for (int i = 1; i <= 6; i++) frame[-i] = nullptr;   // the saved registers
    context.stack_pointer = frame - 6;
}
static void change(Context &from, Context &to) { secateur_switch(&from.stack_pointer, to.stack_pointer); }
#else
#include <ucontext.h>
struct Context { ucontext_t context; };
static void begin(Context &context, char *stack, size_t size, void (*entry)()) {
    getcontext(&context.context);
    context.context.uc_stack.ss_sp = stack;
    context.context.uc_stack.ss_size = size;
    context.context.uc_link = nullptr;
    makecontext(&context.context, entry, 0);
}
static void change(Context &from, Context &to) { swapcontext(&from.context, &to.context); }
#endif

// cp.async: what is copied is there only after a wait; until then the old bytes are.
struct Copy { void *to; const void *from; bool there; };
struct Slot { const void *pointer; float value; u32 a[4]; u32 b[2]; };
struct Fiber {
    Context context;
    std::unique_ptr<char[]> stack;
    bool done;
    const unsigned *gate;   // waits until this is no longer `seen`
    unsigned seen;
    int phase;
    std::vector<std::vector<Copy>> copies;   // by group
};
// What runs a block: one for each thread of the program.
struct Machine {
    std::vector<Fiber> fibers;
    Context scheduler;
    unsigned current = 0, at_barrier = 0, alive = 0, barrier_generation = 0, num_threads = 0;
    std::vector<unsigned> arrived, generation;   // by warp
    std::vector<Slot> slots[2];
    std::vector<char> shared_bytes;
    const std::function<void()> *body = nullptr;
    Index block_index, grid_size;
    u32 random_state = 1;
};
static thread_local Machine *machine = nullptr;
static u32 draw() { machine->random_state = machine->random_state * 1664525u + 1013904223u; return machine->random_state >> 8; }
static void give_way();
// Returns when others have changed `gate`.
static void wait_at(const unsigned &gate, unsigned seen) {
    Fiber &fiber = machine->fibers[machine->current];
    fiber.gate = &gate;
    fiber.seen = seen;
    while (gate == seen) give_way();
    fiber.gate = nullptr;
}
static void give_way() { unsigned me = machine->current; change(machine->fibers[me].context, machine->scheduler); }
static void entry() {
    (*machine->body)();
    machine->fibers[machine->current].done = true;
    machine->alive--;
    if (machine->at_barrier && machine->at_barrier == machine->alive) { machine->at_barrier = 0; machine->barrier_generation++; }
    give_way();
}
DEVICE void barrier() {
    unsigned mine = machine->barrier_generation;
    if (++machine->at_barrier == machine->alive) { machine->at_barrier = 0; machine->barrier_generation++; return; }
    wait_at(machine->barrier_generation, mine);
}
// All lanes of a warp have put something in their slot when this returns.
DEVICE Slot *exchange(const Slot &mine) {
    unsigned warp = machine->current / 32;
    unsigned phase = machine->fibers[machine->current].phase++ & 1;
    machine->slots[phase][machine->current] = mine;
    unsigned now = machine->generation[warp];
    if (++machine->arrived[warp] == 32) { machine->arrived[warp] = 0; machine->generation[warp]++; }
    else wait_at(machine->generation[warp], now);
    return &machine->slots[phase][warp * 32];
}
static void run_blocks(Index grid, unsigned threads, size_t shared, const std::function<void()> &kernel) {
    const size_t STACK = 64 << 10;
    if (!machine) machine = new Machine;
    machine->grid_size = grid; machine->num_threads = threads; machine->body = &kernel;
    if (machine->fibers.size() < threads) machine->fibers.resize(threads);
    for (unsigned z = 0; z < grid.z; z++) for (unsigned y = 0; y < grid.y; y++) for (unsigned x = 0; x < grid.x; x++) {
        machine->block_index = {x, y, z};
        machine->shared_bytes.assign(shared + 128, (char)0xff);
        machine->alive = threads; machine->at_barrier = 0;
        machine->arrived.assign((threads + 31) / 32, 0); machine->generation.assign((threads + 31) / 32, 0);
        machine->slots[0].resize(threads); machine->slots[1].resize(threads);
        for (unsigned i = 0; i < threads; i++) {
            Fiber &fiber = machine->fibers[i];
            if (!fiber.stack) fiber.stack.reset(new char[STACK]);
            fiber.done = false; fiber.gate = nullptr; fiber.phase = 0; fiber.copies.clear();
            begin(fiber.context, fiber.stack.get(), STACK, entry);
        }
        // A random order, in which some warps run far ahead of others.
        u32 running = ~0u; unsigned passes = 0;
        while (machine->alive) {
            if (passes-- == 0) { running = draw() | draw() << 16; passes = draw() % 200; }
            unsigned start = draw() % threads, step = threads & (threads - 1) ? 1 : 2 * (draw() % 64) + 1;
            bool any = false;
            for (unsigned i = 0; i < threads; i++) {
                machine->current = (start + i * step) % threads;
                const Fiber &fiber = machine->fibers[machine->current];
                if (fiber.done || (fiber.gate && *fiber.gate == fiber.seen) || !(running >> machine->current / 32 % 32 & 1)) continue;
                any = true;
                change(machine->scheduler, machine->fibers[machine->current].context);
            }
            // Those that may run wait for others.
            if (!any) { running = ~0u; passes = 0; }
        }
    }
}
#define threadIdx (Index{machine->current, 0, 0})
#define blockIdx machine->block_index
#define blockDim (Index{machine->num_threads, 1, 1})
#define gridDim machine->grid_size

DEVICE float widen(bf16 x) { u32 bits = (u32)x << 16; float f; memcpy(&f, &bits, 4); return f; }
DEVICE u32 bits_of(float x) { u32 bits; memcpy(&bits, &x, 4); return bits; }
DEVICE u32 rounded(float x) { u32 bits = bits_of(x); if (x != x) return 0x7fff; return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16; }
DEVICE u32 pack(float low, float high) { return rounded(low) | rounded(high) << 16; }
DEVICE float low(u32 pair) { return widen((bf16)pair); }
DEVICE float high(u32 pair) { return widen((bf16)(pair >> 16)); }
DEVICE void arrive(const Copy &c) { if (c.there) memcpy(c.to, c.from, 16); else memset(c.to, 0, 16); }
// A copy happens at once or when it is waited for, by chance: both must do.
DEVICE void copy16(void *to, const void *from, bool there) {
    auto &copies = machine->fibers[machine->current].copies;
    if (copies.empty()) copies.emplace_back();
    Copy copy{to, from, there};
    if (draw() & 1) arrive(copy); else copies.back().push_back(copy);
}
DEVICE void commit() {
    auto &copies = machine->fibers[machine->current].copies;
    if (copies.empty()) copies.emplace_back();
    copies.emplace_back();
}
template <int N> DEVICE void wait_for() {
    auto &copies = machine->fibers[machine->current].copies;
    while (copies.size() > N + 1) { for (auto &copy : copies.front()) arrive(copy); copies.erase(copies.begin()); }
}
DEVICE void load_matrices(u32 (&out)[4], const void *row) {
    Slot s{}; s.pointer = row; Slot *all = exchange(s); unsigned lane = machine->current % 32;
    for (int m = 0; m < 4; m++) memcpy(&out[m], (const char *)all[8 * m + lane / 4].pointer + 4 * (lane % 4), 4);
}
DEVICE void load_transposed(u32 (&out)[4], const void *row) {
    Slot s{}; s.pointer = row; Slot *all = exchange(s); unsigned lane = machine->current % 32;
    for (int m = 0; m < 4; m++) {
        bf16 v[2];
        for (int i = 0; i < 2; i++) memcpy(&v[i], (const char *)all[8 * m + 2 * (lane % 4) + i].pointer + 2 * (lane / 4), 2);
        out[m] = v[0] | (u32)v[1] << 16;
    }
}
DEVICE void multiply(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    Slot s{}; memcpy(s.a, a, 16); s.b[0] = b0; s.b[1] = b1; Slot *all = exchange(s);
    unsigned lane = machine->current % 32, g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; i++) {
        unsigned half = i / 2, column = 2 * t + i % 2; float sum = 0;
        for (unsigned k = 0; k < 16; k += 2) {
            u32 pa = all[4 * g + (k % 8) / 2].a[half + 2 * (k / 8)], pb = all[4 * column + (k % 8) / 2].b[k / 8];
            sum += low(pa) * low(pb) + high(pa) * high(pb);
        }
        c[i] += sum;
    }
}
DEVICE float shuffle_xor(float x, int mask) { Slot s{}; s.value = x; return exchange(s)[(machine->current % 32) ^ mask].value; }
DEVICE void warp_barrier() { Slot s{}; exchange(s); }
DEVICE float exp2_of(float x) { return exp2f(x); }
DEVICE char *dynamic_shared() { return (char *)(((uintptr_t)machine->shared_bytes.data() + 127) & ~(uintptr_t)127); }
DEVICE void add_global(float *p, float x) { *p += x; }
DEVICE u32 count_one(u32 *count) { return (*count)++; }
DEVICE uint4 load_streaming(const void *p) { uint4 v; memcpy(&v, p, 16); return v; }
using std::max;
using std::min;
DEVICE float rsqrtf(float x) { return 1 / sqrtf(x); }
#define __expf expf
DEVICE float __fdividef(float a, float b) { return a / b; }
