// Numbers that are trained, their gradients, and the optimizer's means: f32, one after the other. A thread has one.

// x += y
KERNEL __launch_bounds__(256) add_numbers(float *x, const float *y, size_t count) {
    const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) x[i] += y[i];
}
// out = x + offset; not below zero with `relu`.
KERNEL __launch_bounds__(256) copy_numbers(const float *x, float *out, size_t count, float offset, int relu) {
    const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) out[i] = relu ? max(x[i] + offset, 0.f) : x[i] + offset;
}
// A table (V, columns) in bf16: of values * factor; or, with types, of the sum of row p of the values and row k of the types in row
// k P + p, where there are P rows of values. `len` is the table's, `count` that of the values.
KERNEL __launch_bounds__(256) fill_table(const float *values, const float *types, bf16 *out, size_t len, size_t count, int columns, float factor) {
    const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < len) out[i] = round_to_bf16(types ? values[i % count] + types[i / count * columns + i % columns] : values[i] * factor);
}
// out (V, columns) gets `factor` times rows of x (T, columns) added: to row ids[b] those that order[starts[b]] up to starts[b + 1] names,
// in that order. A block has an id, and all ids differ.
KERNEL __launch_bounds__(256) add_rows(const float *x, const u32 *ids, const u32 *starts, const u32 *order, float *out, int columns, float factor) {
    const u32 begin = starts[blockIdx.x], end = starts[blockIdx.x + 1];
    float *to = out + (size_t)ids[blockIdx.x] * columns;
    for (int i = threadIdx.x; i < columns; i += blockDim.x) {
        float sum = 0;
        for (u32 place = begin; place < end; place++) sum += x[(size_t)order[place] * columns + i];
        to[i] += factor * sum;
    }
}
struct AdamW { float rate, beta1, beta2, eps, decay, scale, correction1, correction2; };
// One step of AdamW (Loshchilov & Hutter 2019). `scale` multiplies the gradient first; the corrections are 1 - beta^step.
KERNEL __launch_bounds__(256) adamw(float *parameters, const float *gradient, float *mean, float *square, size_t count, AdamW with) {
    const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const float g = gradient[i] * with.scale;
    const float m = with.beta1 * mean[i] + (1 - with.beta1) * g, v = with.beta2 * square[i] + (1 - with.beta2) * g * g;
    parameters[i] = parameters[i] * (1 - with.rate * with.decay) - with.rate * (m / with.correction1) / (sqrtf(v / with.correction2) + with.eps);
    mean[i] = m; square[i] = v;
}
// Sums of squares of stretches of 65,536 numbers, one a block, in a fixed order.
KERNEL __launch_bounds__(256) squared_sum(const float *x, float *out, size_t count) {
    const size_t first = (size_t)blockIdx.x * 65536;
    float sum = 0;
    for (size_t i = first + threadIdx.x; i < min(first + 65536, count); i += blockDim.x) sum += x[i] * x[i];
    sum = sum_over_block(sum);
    if (threadIdx.x == 0) out[blockIdx.x] = sum;
}
