// The non-linearities of MLPs. Numbers as in Rust's `secateur_gpu::Activation`.
enum { GELU, GELU_TANH, SILU, RELU, TANH };
DEVICE float activate(float x, int activation) {
    switch (activation) {
        case GELU: return 0.5f * x * (1 + erff(x * 0.70710678118654752f));
        case GELU_TANH: return 0.5f * x * (1 + tanhf(0.79788456080286536f * (x + 0.044715f * x * x * x)));
        case SILU: return __fdividef(x, 1 + __expf(-x));
        case RELU: return max(x, 0.f);
        default: return tanhf(x);
    }
}
// d activate(x) / dx
DEVICE float slope(float x, int activation) {
    switch (activation) {
        case GELU: return 0.5f * (1 + erff(x * 0.70710678118654752f)) + x * 0.39894228040143268f * __expf(-0.5f * x * x);
        case GELU_TANH: {
            const float t = tanhf(0.79788456080286536f * (x + 0.044715f * x * x * x));
            return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * 0.79788456080286536f * (1 + 3 * 0.044715f * x * x);
        }
        case SILU: {
            const float s = __fdividef(1, 1 + __expf(-x));
            return s * (1 + x * (1 - s));
        }
        case RELU: return x > 0 ? 1.f : 0.f;
        default: { const float t = tanhf(x); return 1 - t * t; }
    }
}
// act(gate) * up: (T, 2 W) -> (T, W), or act(x): (T, W) -> (T, W). W is a multiple of 8; the bias (2 W or W) may be null.
KERNEL __launch_bounds__(256) gate(const bf16 *x, const float *bias, bf16 *out, int width, int gated, int activation) {
    const int i = blockIdx.y * blockDim.x + threadIdx.x;   // a row has blockIdx.x
    if (i >= width / 8) return;
    const bf16 *row = x + (size_t)blockIdx.x * width * (gated ? 2 : 1);
    const uint4 g = ((const uint4 *)row)[i], u = gated ? ((const uint4 *)(row + width))[i] : uint4{0, 0, 0, 0};
    const u32 gates[4] = {g.x, g.y, g.z, g.w}, ups[4] = {u.x, u.y, u.z, u.w};
    u32 outs[4];
    UNROLL for (int j = 0; j < 4; j++) {
        float a = low(gates[j]), b = high(gates[j]), c = low(ups[j]), d = high(ups[j]);
        if (bias) {
            const int column = i * 8 + 2 * j;
            a += bias[column]; b += bias[column + 1];
            if (gated) { c += bias[width + column]; d += bias[width + column + 1]; }
        }
        a = activate(a, activation); b = activate(b, activation);
        outs[j] = gated ? pack(a * c, b * d) : pack(a, b);
    }
    ((uint4 *)(out + (size_t)blockIdx.x * width))[i] = uint4{outs[0], outs[1], outs[2], outs[3]};
}
// act(gate) * up * factors, or act(up) * factors where there is no gate: bf16 (T, stride), of which the first columns count. The factors,
// one a column, may be null.
KERNEL __launch_bounds__(256) combine(const bf16 *gate, const bf16 *up, const float *factors, bf16 *out, int columns, int stride, int activation) {
    const int i = blockIdx.y * blockDim.x + threadIdx.x;   // a row has blockIdx.x
    if (i >= stride) return;
    const size_t place = (size_t)blockIdx.x * stride + i;
    float value = 0;
    if (i < columns) {
        const float u = widen(up[place]);
        value = (gate ? activate(widen(gate[place]), activation) * u : activate(u, activation)) * (factors ? factors[i] : 1);
    }
    out[place] = round_to_bf16(value);
}
// The gradient of `combine`: of what came out, f32 (T, columns), to those of gate and up, in place of them. With `of_factors` the
// gradient becomes what that of each factor's ReLU is the sum of: nothing where the factor is zero.
KERNEL __launch_bounds__(256) combine_backward(bf16 *gate, bf16 *up, const float *factors, float *gradient, int columns, int stride, int activation, int of_factors) {
    const int i = blockIdx.y * blockDim.x + threadIdx.x;   // a row has blockIdx.x
    if (i >= columns) return;
    const size_t place = (size_t)blockIdx.x * stride + i, from = (size_t)blockIdx.x * columns + i;
    const float g = gradient[from], factor = factors ? factors[i] : 1, u = widen(up[place]);
    float value;
    if (gate) {
        const float a = widen(gate[place]), activated = activate(a, activation);
        gate[place] = round_to_bf16(g * factor * u * slope(a, activation));
        up[place] = round_to_bf16(g * factor * activated);
        value = activated * u;
    } else {
        up[place] = round_to_bf16(g * factor * slope(u, activation));
        value = activate(u, activation);
    }
    if (of_factors) gradient[from] = factor > 0 ? g * value : 0;
}
