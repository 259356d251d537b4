// What training needs besides products: the way back through norms, and the optimizer.

// The gradient of `norm` by its input, added to `out` (T, columns): x and the gradient of the norm's output, both (T, columns).
// A block has a row. `centered`: the norm takes the mean away.
KERNEL __launch_bounds__(256) norm_backward(const float *x, const float *weight, const float *gradient, float *out, int columns, int centered, float eps) {
    const float *row = x + (size_t)blockIdx.x * columns, *slopes = gradient + (size_t)blockIdx.x * columns;
    float mean = 0, squares = 0;
    if (centered) {
        for (int i = threadIdx.x; i < columns; i += blockDim.x) mean += row[i];
        mean = sum_over_block(mean) / columns;
    }
    for (int i = threadIdx.x; i < columns; i += blockDim.x) squares += (row[i] - mean) * (row[i] - mean);
    const float scale = rsqrtf(sum_over_block(squares) / columns + eps);
    float along = 0, sum = 0;
    for (int i = threadIdx.x; i < columns; i += blockDim.x) {
        along += slopes[i] * weight[i] * (row[i] - mean) * scale;
        sum += slopes[i] * weight[i];
    }
    along = sum_over_block(along) / columns;
    sum = centered ? sum_over_block(sum) / columns : 0;
    for (int i = threadIdx.x; i < columns; i += blockDim.x)
        out[(size_t)blockIdx.x * columns + i] += scale * (slopes[i] * weight[i] - sum - (row[i] - mean) * scale * along);
}
struct AdamW { float rate, beta1, beta2, eps, decay, scale, correction1, correction2; };
// One step of AdamW (Loshchilov & Hutter 2019) on f32 parameters. `scale` multiplies the gradient first; the corrections are
// 1 - beta^step. `half`, if not null, gets the parameters in bf16.
KERNEL __launch_bounds__(256) adamw(float *parameters, const float *gradient, float *mean, float *square, bf16 *half, size_t count, AdamW with) {
    const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const float g = gradient[i] * with.scale;
    const float m = with.beta1 * mean[i] + (1 - with.beta1) * g, v = with.beta2 * square[i] + (1 - with.beta2) * g * g;
    float p = parameters[i] * (1 - with.rate * with.decay);
    p -= with.rate * (m / with.correction1) / (sqrtf(v / with.correction2) + with.eps);
    mean[i] = m; square[i] = v; parameters[i] = p;
    if (half) half[i] = round_to_bf16(p);
}
// Sums of squares of stretches of 65,536 numbers, one a block, in a fixed order.
KERNEL __launch_bounds__(256) squared_sum(const float *x, float *out, size_t count) {
    const size_t first = (size_t)blockIdx.x * 65536;
    float sum = 0;
    for (size_t i = first + threadIdx.x; i < min(first + 65536, count); i += blockDim.x) sum += x[i] * x[i];
    sum = sum_over_block(sum);
    if (threadIdx.x == 0) out[blockIdx.x] = sum;
}
