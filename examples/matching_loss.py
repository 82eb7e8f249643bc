"""Use MatchingLoss in your own training loop: python examples/matching_loss.py"""

import torch

import otomatch

torch.manual_seed(0)
sounds = torch.randn(512, 40)  # placeholder for your audio features
words = sounds[:, :20] + 0.3 * torch.randn(512, 20)  # placeholder for your text features

audio_net, text_net = torch.nn.Linear(40, 32), torch.nn.Linear(20, 32)
metric = otomatch.Mahalanobis(32)
loss_fn = otomatch.MatchingLoss(epsilon=0.05)
networks = torch.nn.ModuleList([audio_net, text_net, metric])
optimizer = torch.optim.Adam(networks.parameters(), lr=3e-3)

for step in range(200):
    rows = torch.randint(0, 512, (64,)).unique()
    x = torch.nn.functional.normalize(audio_net(sounds[rows]), dim=1)
    y = torch.nn.functional.normalize(text_net(words[rows]), dim=1)
    loss = loss_fn(x, y, metric)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    metric.project_()  # keeps M positive semi-definite: projected gradient descent
    if step % 50 == 0 or step == 199:
        print(f"step {step:3d}  KL {loss.item():.3f}  {loss_fn.last.iterations} iterations")
