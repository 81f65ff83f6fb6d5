/* libshira_switch: puts SHiRA adapters on weights that somebody else owns, takes them off again,
 * bit for bit, and switches between them in one pass over the weights. Plain C99, no LibTorch: for
 * engines written in anything that can call C.
 *
 *   const int64_t shape[2] = {11008, 4096};
 *   shira_switch_tensor up = {"model.layers.0.mlp.up_proj.weight", data, "BF16", 2, shape};
 *   shira_switch_base_new(&up, 1, &base);
 *   shira_switch_adapter_load("adapters/pirate", &adapter);
 *   shira_switch_scaled_adapter scaled = {adapter, 1.0};
 *   shira_switch_resolve(base, &scaled, 1, 0, &pirate);
 *
 *   shira_switch_switch_to(base, pirate);
 *   shira_switch_lease_acquire(base, &lease);
 *   ... compute ...
 *   shira_switch_lease_release(lease);
 *   shira_switch_revert(base);
 *
 * Results. Every function that can fail returns a status; anything but SHIRA_SWITCH_OK has changed
 * nothing, and shira_switch_last_error() says what was wrong. Functions that make something write
 * it to their last argument, NULL on failure.
 *
 * Threads. Every thread that computes with the weights holds a lease for a whole computation (a
 * generation, a forward and its backward). Switching waits for the leases under way, keeps new ones
 * waiting, and so happens between computations. All functions may be called on any thread, except
 * that nothing may use a handle that another thread frees at the same time.
 *
 * Exactness. A position that one adapter of new weights at scale 1 covers is copied; one that an
 * adapter of deltas covers alone is round(fp32(W) + scale * delta), as HuggingFace PEFT merges;
 * every other sum is formed in float64 and rounded once. Whatever is applied, reverting gives back
 * every bit.
 */
#ifndef SHIRA_SWITCH_H
#define SHIRA_SWITCH_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define SHIRA_SWITCH_API __attribute__((visibility("default")))
#else
#define SHIRA_SWITCH_API
#endif

/** The version of this header; shira_switch_version() is that of the library. */
#define SHIRA_SWITCH_VERSION "0.1.0"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum shira_switch_status {
  SHIRA_SWITCH_OK = 0,
  SHIRA_SWITCH_INVALID_ARGUMENT = 1, /* an argument that can never be right */
  SHIRA_SWITCH_BAD_FILE = 2,         /* an adapter that is missing, damaged or of another format */
  SHIRA_SWITCH_MISFIT = 3,           /* an adapter or a patch that does not belong to this base */
  SHIRA_SWITCH_WRONG_STATE = 4,      /* not now: a patch is applied, or this thread holds a lease */
  SHIRA_SWITCH_OUT_OF_MEMORY = 5,
  SHIRA_SWITCH_INTERNAL_ERROR = 6
} shira_switch_status;

/** The weights of one model, which stay where they are and belong to the caller. */
typedef struct shira_switch_base shira_switch_base;
/** An adapter in memory; its files are not needed any more. */
typedef struct shira_switch_adapter shira_switch_adapter;
/** Adapters at scales, resolved against one base: what will be written where. */
typedef struct shira_switch_patch shira_switch_patch;
/** The right to compute: the weights stay as they are for as long as it lives. */
typedef struct shira_switch_lease shira_switch_lease;

/** One weight. The strings and the shape are copied; `data` must stay valid and be written by
 *  nobody else until the base is freed. */
typedef struct shira_switch_tensor {
  const char* name;     /* as in the checkpoint: "model.layers.0.mlp.up_proj.weight" */
  void* data;           /* contiguous, row-major, writable; any alignment */
  const char* dtype;    /* as safetensors spells it: "F32", "BF16", "F16", "F64", "I8", ... */
  int32_t rank;         /* dimensions; 0 is a scalar */
  const int64_t* shape; /* `rank` sizes, none negative; may be NULL for a scalar */
} shira_switch_tensor;

/** An adapter and how strongly it acts: W + scale * (adapted - W). */
typedef struct shira_switch_scaled_adapter {
  const shira_switch_adapter* adapter;
  double scale;
} shira_switch_scaled_adapter;

/** "0.1.0" */
SHIRA_SWITCH_API const char* shira_switch_version(void);

/** What was wrong in the calling thread's last call that failed, over several lines where several
 *  tensors are concerned; "" when none did. Valid until the thread's next call that fails. */
SHIRA_SWITCH_API const char* shira_switch_last_error(void);

/** Describes the weights that adapters may act on. Names are unique and no two tensors share
 *  memory: a weight that two names share is described once. */
SHIRA_SWITCH_API shira_switch_status shira_switch_base_new(const shira_switch_tensor* tensors,
                                                           size_t count, shira_switch_base** base);

/** Waits for leases, gives back every bit of the base and forgets it. WRONG_STATE when this thread
 *  holds a lease. Patches may outlive it, of no more use. NULL is nothing to do. */
SHIRA_SWITCH_API shira_switch_status shira_switch_base_free(shira_switch_base* base);

/** Reads and checks an adapter directory in the `shira` layout. */
SHIRA_SWITCH_API shira_switch_status shira_switch_adapter_load(const char* directory,
                                                               shira_switch_adapter** adapter);

/** Patches resolved from the adapter stay valid. NULL is nothing to do. */
SHIRA_SWITCH_API shira_switch_status shira_switch_adapter_free(shira_switch_adapter* adapter);

/** Resolves `count` adapters together against the base's own values, also while a patch is applied;
 *  of no adapters, the patch is the base. MISFIT lists all tensors that are unknown, of another
 *  shape, removed by the adapter, or (unless `force` is not 0) hold other values than those that
 *  the adapter was trained on. Sums need an F64, F32, BF16 or F16 weight; a single adapter of the
 *  weight's own dtype at scale 1 is copied into any. */
SHIRA_SWITCH_API shira_switch_status
shira_switch_resolve(shira_switch_base* base, const shira_switch_scaled_adapter* adapters,
                     size_t count, int force, shira_switch_patch** patch);

/** How many weights the patch writes. */
SHIRA_SWITCH_API shira_switch_status shira_switch_patch_nnz(const shira_switch_patch* patch,
                                                            int64_t* nnz);

/** How many of the adapters' tensors could not be held against the base's values: those without a
 *  checksum, on a base of a narrower dtype, or forced. 0: this is the base they were trained on. */
SHIRA_SWITCH_API shira_switch_status shira_switch_patch_unchecked(const shira_switch_patch* patch,
                                                                  int64_t* tensors);

/** A patch that is applied may be freed: the base keeps what it needs. NULL is nothing to do. */
SHIRA_SWITCH_API shira_switch_status shira_switch_patch_free(shira_switch_patch* patch);

/** Overwrites the base with the patch. WRONG_STATE when one is applied already. */
SHIRA_SWITCH_API shira_switch_status shira_switch_apply(shira_switch_base* base,
                                                        const shira_switch_patch* patch);

/** From whatever is applied to `patch`, in one pass over the weights, allocating nothing. */
SHIRA_SWITCH_API shira_switch_status shira_switch_switch_to(shira_switch_base* base,
                                                            const shira_switch_patch* patch);

/** Gives back every bit of the base; nothing to do when nothing is applied. */
SHIRA_SWITCH_API shira_switch_status shira_switch_revert(shira_switch_base* base);

/** 1 when a patch is applied, 0 when not. */
SHIRA_SWITCH_API shira_switch_status shira_switch_is_applied(shira_switch_base* base,
                                                             int* is_applied);

/** Waits while somebody switches or waits to. A thread may hold several leases; apply, switch_to,
 *  revert and base_free on a thread that took one are WRONG_STATE. */
SHIRA_SWITCH_API shira_switch_status shira_switch_lease_acquire(shira_switch_base* base,
                                                                shira_switch_lease** lease);

/** On any thread. NULL is nothing to do. */
SHIRA_SWITCH_API shira_switch_status shira_switch_lease_release(shira_switch_lease* lease);

#ifdef __cplusplus
}
#endif

#endif
