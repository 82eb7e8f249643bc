"""Share each batch between processes: torchrun --nproc-per-node 2 examples/ddp_matching_loss.py"""

import torch
import torch.distributed as dist
from torch.nn.functional import normalize

import otomatch

torch.manual_seed(0)  # the same features, initial parameters and batches on every rank
sounds = torch.randn(512, 40)  # placeholder for your audio features
words = sounds[:, :20] + 0.3 * torch.randn(512, 20)  # placeholder for your text features
networks = torch.nn.Linear(40, 32), torch.nn.Linear(20, 32), otomatch.Mahalanobis(32)
loss_fn = otomatch.MatchingLoss(epsilon=0.1, gather=True)
optimizer = torch.optim.Adam(torch.nn.ModuleList(networks).parameters(), lr=1e-2)
audio_net, text_net, metric, rank, world = *networks, 0, 1
if dist.is_torchelastic_launched():  # False with: python examples/ddp_matching_loss.py
    dist.init_process_group("gloo")  # on GPUs: "nccl", with the tensors on the GPU
    rank, world = dist.get_rank(), dist.get_world_size()
    audio_net, text_net, metric = map(torch.nn.parallel.DistributedDataParallel, networks)
for step in range(40):
    rows = torch.randperm(512)[:64][rank::world]
    loss = loss_fn(normalize(audio_net(sounds[rows])), normalize(text_net(words[rows])), metric)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    networks[2].project_()  # keeps M positive semi-definite
    if rank == 0:
        print(f"step {step:2d}  KL {loss.item():.3f}")
if dist.is_initialized():
    dist.destroy_process_group()
