// Attention of texts of at most 32 tokens, with what is done to their heads before: one launch instead of two. A block has a query
// head of a text; lane j of a warp has key j.
KERNEL __launch_bounds__(128) attention_few(const bf16 *qkv, bf16 *out, const Text *texts, const float *bias, const float *query_norm, const float *key_norm, const float *cos, const float *sin, float eps, AttentionShape shape) {
    const Text text = texts[blockIdx.x];
    const int head = blockIdx.y, key_head = shape.num_heads + head / shape.group, value_head = key_head + shape.num_key_value_heads;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, head_dim = shape.head_dim;
    const int padded = head_dim + 2;   // lanes read different rows: neighbours in different banks
    bf16 *queries = (bf16 *)dynamic_shared(), *keys = queries + 32 * padded, *values = keys + 32 * padded;
    float *weights = (float *)(values + 32 * padded) + warp * 32;
    for (int row = warp; row < text.length; row += 4) {
        const bf16 *from = qkv + (size_t)(text.start + row) * shape.stride;
        const size_t place = (size_t)row * (head_dim / 2);
        auto one = [&](int number, bf16 *to, const float *weight, bool turned) {
            Preparation with = {bias ? bias + number * head_dim : nullptr, weight, turned && cos ? cos + place : nullptr, sin + place, eps};
            prepare_head(from + (size_t)number * head_dim, to + row * padded, head_dim, with);
        };
        one(head, queries, query_norm, true);
        one(key_head, keys, key_norm, true);
        one(value_head, values, nullptr, false);
    }
    barrier();
    for (int row = warp; row < text.length; row += 4) {
        const bool seen = lane < text.length && (!shape.causal || lane <= row) && (shape.window < 0 || (lane >= row - shape.window && lane <= row + shape.window));
        float score = -INFINITY;
        if (seen) {
            float sum = 0;
            for (int k = 0; k < head_dim; k += 2) {
                const u32 q = *(const u32 *)(queries + row * padded + k), key = *(const u32 *)(keys + lane * padded + k);
                sum += low(q) * low(key) + high(q) * high(key);
            }
            score = sum * shape.scale;
            if (shape.softcap > 0) score = shape.softcap * tanhf(score / shape.softcap);
        }
        float largest = score;
        for (int mask = 16; mask; mask /= 2) largest = max(largest, shuffle_xor(largest, mask));
        const float weight = seen ? exp2_of((score - largest) * 1.4426950408889634f) : 0;
        const float total = sum_over_warp(weight);
        warp_barrier();   // the weights of the row before have been read
        weights[lane] = weight / total;
        warp_barrier();
        bf16 *to = out + (size_t)(text.start + row) * shape.out_stride + (size_t)head * head_dim;
        for (int k = 2 * lane; k < head_dim; k += 64) {
            float a = 0, b = 0;
            for (int key = 0; key < text.length; key++) {
                const u32 value = *(const u32 *)(values + key * padded + k);
                a += weights[key] * low(value);
                b += weights[key] * high(value);
            }
            *(u32 *)(to + k) = pack(a, b);
        }
    }
}
