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
// The gradient of `gate`: of out (T, W) to that of x (T, 2 W or W), bias included in what is activated.
KERNEL __launch_bounds__(256) gate_backward(const bf16 *x, const float *bias, const bf16 *gradient, bf16 *out, int width, int gated, int activation) {
    const int i = blockIdx.y * blockDim.x + threadIdx.x;   // a row has blockIdx.x
    if (i >= width) return;
    const size_t row = (size_t)blockIdx.x * width * (gated ? 2 : 1);
    const float slope_out = widen(gradient[(size_t)blockIdx.x * width + i]), a = widen(x[row + i]) + (bias ? bias[i] : 0);
    if (gated) {
        const float u = widen(x[row + width + i]) + (bias ? bias[width + i] : 0);
        out[row + i] = round_to_bf16(slope_out * u * slope(a, activation));
        out[row + width + i] = round_to_bf16(slope_out * activate(a, activation));
    } else {
        out[row + i] = round_to_bf16(slope_out * slope(a, activation));
    }
}
