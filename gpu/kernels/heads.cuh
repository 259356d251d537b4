// What is done to queries, keys and values between their product and attention: bias, norms of heads, rotation.
struct HeadsShape {
    int num_heads, num_key_value_heads, head_dim, stride;
    float eps;
};
// What a head is prepared with. Each pointer may be null: bias (K), the norm's weight (K), cosines and sines of the place (K / 2).
struct Preparation { const float *bias, *weight, *cos, *sin; float eps; };
// A warp prepares a head: x (K) -> out (K), which may be one.
DEVICE void prepare_head(const bf16 *x, bf16 *out, int head_dim, const Preparation &with) {
    const int lane = threadIdx.x % 32, half = head_dim / 2;
    float scale = 1;
    if (with.weight) {
        float squares = 0;
        for (int k = lane; k < head_dim; k += 32) {
            const float v = widen(x[k]) + (with.bias ? with.bias[k] : 0);
            squares += v * v;
        }
        scale = rsqrtf(sum_over_warp(squares) / head_dim + with.eps);
    }
    for (int k = lane; k < half; k += 32) {
        float a = widen(x[k]), b = widen(x[half + k]);
        if (with.bias) { a += with.bias[k]; b += with.bias[half + k]; }
        if (with.weight) { a *= scale * with.weight[k]; b *= scale * with.weight[half + k]; }
        if (with.cos) {
            const float c = with.cos[k], s = with.sin[k], turned = a * c - b * s;
            b = b * c + a * s;
            a = turned;
        }
        out[k] = round_to_bf16(a);
        out[half + k] = round_to_bf16(b);
    }
}
// In place: a block has a token, a warp a head at a time. The pointers are those of `Preparation`, for all heads and places.
KERNEL __launch_bounds__(256) prepare_heads(bf16 *qkv, const float *bias, const float *query_norm, const float *key_norm, const u32 *places, const float *cos, const float *sin, HeadsShape shape) {
    const int head_dim = shape.head_dim, rotated = shape.num_heads + shape.num_key_value_heads;
    const size_t place = cos ? (size_t)places[blockIdx.x] * (head_dim / 2) : 0;
    for (int head = threadIdx.x / 32; head < (bias ? rotated + shape.num_key_value_heads : rotated); head += blockDim.x / 32) {
        bf16 *x = qkv + (size_t)blockIdx.x * shape.stride + (size_t)head * head_dim;
        Preparation with = {bias ? bias + head * head_dim : nullptr, head < shape.num_heads ? query_norm : head < rotated ? key_norm : nullptr,
                            cos && head < rotated ? cos + place : nullptr, sin + place, shape.eps};
        prepare_head(x, x, head_dim, with);
    }
}
