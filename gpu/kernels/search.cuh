// Rows of 8-bit codes that may be among the best of a query. A query's code is 256 high + low: its products are row q and row
// num_padded + q of (2 num_padded, stride). `queries` has a scale, a term, a reach and a limit for each, `rows` a scale and an error
// for each. What a score is at most, score + reach * error, must reach the limit; of NaN nothing is known, so it passes.
// `among` has a bit for each row from number 0 on; the first row here is number `first`. What passes is counted by query, and behind
// the counts for all queries that have passed no more than `most`; these are written as query, row, score and error.
KERNEL __launch_bounds__(256) promising(const int *products, const float4 *queries, const float2 *rows, const u32 *among, u32 first, int count, int stride, int num_padded, u32 most, u32 *counts, uint4 *found) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x, q = blockIdx.y;
    if (i >= count) return;
    const u32 number = first + i;
    if (!(among[number / 32] >> (number % 32) & 1)) return;
    const float4 query = queries[q];
    const float2 row = rows[i];
    // Each half may go beyond 32 bits; their sum does not.
    const u32 sum = 256u * (u32)products[(size_t)q * stride + i] + (u32)products[(size_t)(num_padded + q) * stride + i];
    const float score = (float)(int)sum * (query.x * row.x) + query.y;
    if (score + query.z * row.y < query.w) return;
    if (count_one(&counts[q]) >= most) return;
    found[count_one(&counts[gridDim.y])] = uint4{(u32)q, number, bits_of(score), bits_of(row.y)};
}
