# A training of one's own: REINFORCE (Williams, 1992) on a small environment, and no data at all.
# `widthwise run examples/policy_gradient.toml` searches the policy's widths.
import torch
from torch import nn

SIZE, STEPS, EPISODES = 7, 12, 64


class Grid:
    """As many grids as there are episodes: walk from a random cell to the goal in the middle."""

    def __init__(self):
        self.cells = torch.randint(SIZE, (EPISODES, 2))

    def observe(self):
        return 2.0 * self.cells / (SIZE - 1) - 1.0

    def step(self, actions):
        moves = torch.tensor([[0, 1], [0, -1], [1, 0], [-1, 0]])
        self.cells = (self.cells + moves[actions]).clamp(0, SIZE - 1)
        return (self.cells == SIZE // 2).all(dim=1).float()


def build(widths):
    return nn.Sequential(
        nn.Linear(2, widths["hidden1"]),
        nn.Tanh(),
        nn.Linear(widths["hidden1"], widths["hidden2"]),
        nn.Tanh(),
        nn.Linear(widths["hidden2"], 4),
    )


def play(policy, device):
    """Return the rewards and the log-probabilities of all steps, [STEPS, EPISODES] each."""
    grid, rewards, log_probabilities = Grid(), [], []
    for _ in range(STEPS):
        actions = torch.distributions.Categorical(logits=policy(grid.observe().to(device)))
        action = actions.sample()
        log_probabilities.append(actions.log_prob(action))
        rewards.append(grid.step(action.cpu()))
    return torch.stack(rewards).to(device), torch.stack(log_probabilities)


def train(widths, trial):
    # torch's streams are seeded from trial.seed already.
    policy = build(widths).to(trial.device)
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.02)
    returns = []
    for epoch in range(1, trial.epochs + 1):
        rewards, log_probabilities = play(policy, trial.device)
        to_go = rewards.flip(0).cumsum(0).flip(0)
        advantages = (to_go - to_go.mean(dim=1, keepdim=True)) / (to_go.std() + 1e-6)
        loss = -(log_probabilities * advantages).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        returns.append(rewards.sum(0).mean().item())
        if epoch % 5 == 0:
            trial.report(epoch, sum(returns[-5:]) / 5)  # may raise widthwise.StopTraining
    trial.log(first_return=returns[0])
    return sum(returns[-10:]) / len(returns[-10:])
