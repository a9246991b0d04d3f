"""What every chunk-predicting network shares: the one path from observations to its input, and from its output to actions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robolearn.batch import WindowBatch
from robolearn.errors import UserError, check_positive, check_share
from robolearn.learning.parallel import Shard, randn
from robolearn.learning.representation import TCP, check_representation, from_representation, normalizer_key, to_representation
from robolearn.normalize import ACTION, Normalizer
from robolearn.policies.channel_weights import channel_weights
from robolearn.policies.encoders import Encoder
from robolearn.policies.networks.packed import can_pack, packed
from robolearn.policies.relations import Relations, all_but, layout_of
from robolearn.policies.tasks import TaskEmbedding
from robolearn.precision import PRECISIONS, autocast
from robolearn.spec import ActionSpec, EnvSpec


class ChunkModel(nn.Module):
    """Base of chunk samplers that are networks: normalises inside, so that training and acting cannot differ.

    Args:
        env_spec: observations and actions of the task.
        normalizer: fitted on the demonstrations; the same object trains and serves.
        observation_keys: arrays the network reads, in this order.
        observation_horizon: To, observations it reads, the current one last.
        prediction_horizon: Tp, actions it predicts, the current step's first.
        action_horizon: actions meant to be executed before the next chunk; a default for whoever serves the model.
        observation_noise: standard deviation of the noise added to observations while training, in normalised units.
        clamp: normalised observations are clipped to this magnitude.
        action_clamp: normalised actions are clipped to this magnitude.
        mask_padding: actions beyond an episode's end do not count in the loss.
        precision: ``float32``; ``bfloat16`` for the matrix products; ``auto`` takes bfloat16 where the processor has it.
        actions: what the network predicts: ``absolute`` targets; ``relative`` to the tool's pose at the window's present step; or
            ``delta``, each from the one before. Whoever calls the model deals in environment units whichever it is.
        task_embedding: size of a learned vector for each of ``tasks``, where the policy is for several; 0 for none.
        tasks: their names; ``train`` takes those of its stores.
        encoder: turns the images among ``observation_keys`` into features; see :class:`robolearn.policies.encoders.ImageEncoder`.
        relations: pairs of positions whose differences are also read, finely coded; see :class:`robolearn.policies.relations.Relations`.
            Those of ``action`` are left out: it is what this network predicts.
        wavelengths: [m] of that code.
        distractors: numbers that are not read, as ``name:begin:end``: what differs between episodes and matters to none tells few
            demonstrations apart, and a network acts on it.
        loss_weights: how much the error of a channel counts, by what the action's units say it holds, such as ``{m: 20, rot6d: 3}``;
            the others count once. A gripper ranges over what a position does, and is decided by far less than a hundredth of it.

    Raises:
        UserError: a key that the task or the normaliser does not have, or horizons that do not fit.
    """

    observation_offset: Tensor
    observation_scale: Tensor
    action_offset: Tensor
    action_scale: Tensor
    network: nn.Module
    _read: Tensor | None
    _channel_weights: Tensor | None

    def __init__(
        self,
        *,
        env_spec: EnvSpec,
        normalizer: Normalizer,
        observation_keys: Sequence[str],
        observation_horizon: int = 1,
        prediction_horizon: int = 16,
        action_horizon: int = 8,
        observation_noise: float = 0.0,
        clamp: float = 3.0,
        action_clamp: float = 1.0,
        mask_padding: bool = True,
        precision: str = "auto",
        actions: str = "absolute",
        encoder: Encoder | None = None,
        task_embedding: int = 0,
        tasks: Sequence[str] = (),
        relations: Sequence[Sequence[str]] = (),
        wavelengths: Sequence[float] = (0.32, 0.08),
        distractors: Sequence[str] = (),
        loss_weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        check_representation(actions, env_spec, observation_keys)
        self.actions = actions
        _check_keys(observation_keys, env_spec, normalizer, normalizer_key(actions))
        self.image_keys = tuple(name for name in observation_keys if env_spec.observation[name].is_image)
        self.state_keys = tuple(name for name in observation_keys if name not in self.image_keys)
        _check_encoder(encoder, self.image_keys)
        self.encoder = encoder
        self.tasks = TaskEmbedding(tasks, task_embedding) if task_embedding or tasks else None
        if observation_horizon < 1 or not 1 <= action_horizon <= prediction_horizon:
            raise UserError(
                "horizons must satisfy observation >= 1 and 1 <= action <= prediction, got "
                f"observation {observation_horizon}, action {action_horizon}, prediction {prediction_horizon}"
            )
        check_share(0.0, math.inf, observation_noise=observation_noise)
        check_positive(clamp=clamp, action_clamp=action_clamp)
        self.env_spec, self.normalizer = env_spec, normalizer
        self.observation_keys = tuple(observation_keys)
        self.observation_horizon, self.prediction_horizon, self.action_horizon = observation_horizon, prediction_horizon, action_horizon
        self.observation_noise, self.clamp, self.action_clamp, self.mask_padding = observation_noise, clamp, action_clamp, mask_padding
        self._serving: tuple[Any, nn.Module, dict[Any, Tensor]] | None = None
        self.set_precision(precision)
        sizes = {name: math.prod(env_spec.observation[name].shape) for name in self.state_keys}
        self.relations = Relations([pair for pair in relations if ACTION not in pair], layout_of(sizes), wavelengths)
        read = all_but(distractors, sizes)
        if sizes and not len(read):
            raise UserError(f"distractors {list(distractors)} leave nothing of the state to read")
        self.register_buffer("_read", torch.from_numpy(read) if distractors else None, persistent=False)
        features = self.relations.size + (0 if encoder is None else encoder.size)
        self.observation_size = observation_horizon * (len(read) + features) + task_embedding
        self.register_buffer("_channel_weights", channel_weights(env_spec.action, loss_weights or {}), persistent=False)
        self._register_affine("observation", self.state_keys)
        self._register_affine("action", (normalizer_key(actions),))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.action_offset.device

    def set_precision(self, precision: str) -> None:
        """Choose the precision of the network's passes from now on; the weights serve any.

        Raises:
            UserError: no such precision.
        """
        if precision not in PRECISIONS:
            raise UserError(f"no precision {precision!r}; there are {', '.join(PRECISIONS)}")
        self.precision, self._serving = precision, None

    def serving_network(self) -> tuple[Any, dict[Any, Tensor]]:
        """The network for acting, and a place to keep what depends on its weights alone; both made anew when weights change.

        On a processor it is a packed copy.
        """
        state = [(id(weight), weight._version) for weight in self.network.parameters()]
        if self._serving is None or self._serving[0] != state:
            served = self.network
            if self.device.type == "cpu" and can_pack():
                served = packed(served, torch.bfloat16 if self.autocast()._enabled else torch.float32)
            self._serving = (state, served, {})  # in a tuple, so no part of the model's state
        return self._serving[1:]

    def __getstate__(self) -> dict[str, Any]:
        """Copies make their own packed network."""
        return {**self.__dict__, "_serving": None}

    def autocast(self) -> torch.autocast:
        """Context of the network's passes, in ``precision``."""
        return autocast(self.precision, self.device)

    def set_task(self, task: str) -> None:
        """Act for one of the tasks that the policy was trained on, whatever its environment calls itself.

        Raises:
            UserError: it was not trained on that task, or knows no tasks.
        """
        if self.tasks is None:
            raise UserError(f"this policy was trained without a task embedding, for {self.env_spec.task!r}: it takes no task")
        self.tasks.told = self.tasks.number(task)

    def take_task(self, task: str) -> None:
        """The same, from the environment; :meth:`set_task` has precedence."""
        if self.tasks is not None and self.tasks.told is None:
            self.tasks.around = self.tasks.number(task)

    def encode(self, observations: Mapping[str, Tensor]) -> Tensor:
        """The network's view of observations: ``{name: (B, To, ...)} -> (B, C)``: states normalised and clipped, images, the task."""
        return self._join(self._encode_state(observations), observations)

    def encode_numpy(self, observations: Mapping[str, NDArray[Any]]) -> Tensor:
        """:meth:`encode` of arrays, on the model's device."""
        arrays = {name: torch.as_tensor(observations[name], dtype=torch.float32, device=self.device) for name in self.state_keys}
        return self.encode(arrays | {name: torch.as_tensor(observations[name], device=self.device) for name in self.image_keys})

    def noisy_condition(self, batch: WindowBatch, generator: torch.Generator, shard: Shard | None = None) -> Tensor:
        """:meth:`encode` of a batch of tensors and its tasks; while training, states have ``observation_noise``, images random crops."""
        condition = self._encode_state(batch.observations)
        if self.training and self.observation_noise:
            condition = condition + self.observation_noise * randn(condition.shape, generator, shard).to(condition)
        return self._join(condition, batch.observations, batch.task, generator, shard)

    def _join(
        self,
        state: Tensor,
        observations: Mapping[str, Tensor],
        task: Tensor | None = None,
        generator: torch.Generator | None = None,
        shard: Shard | None = None,
    ) -> Tensor:
        parts = [state]
        if self.encoder is not None:
            parts.append(self._encode_images(observations, generator, shard))
        if self.tasks is not None:
            parts.append(self.tasks(self.tasks.acting(len(state)) if task is None else task))
        return torch.cat(parts, 1) if len(parts) > 1 else state

    def _encode_state(self, observations: Mapping[str, Tensor]) -> Tensor:
        if not self.state_keys:
            return torch.zeros((len(observations[self.image_keys[0]]), 0), device=self.device)
        flat = torch.cat([observations[name].flatten(2) for name in self.state_keys], -1)  # (B, To, D)
        states = ((flat - self.observation_offset) / self.observation_scale).clamp(-self.clamp, self.clamp)
        if self._read is not None:
            states = states.index_select(-1, self._read)
        return (torch.cat([states, self.relations.encode_tensor(flat)], -1) if self.relations.size else states).flatten(1)

    def _encode_images(
        self, observations: Mapping[str, Tensor], generator: torch.Generator | None = None, shard: Shard | None = None
    ) -> Tensor:
        with self.autocast():
            assert self.encoder is not None
            features = self.encoder({name: observations[name] for name in self.image_keys}, generator, shard)
        return features.float().flatten(1)  # (B, To * F)

    def normalise_actions(self, actions: Tensor, observations: Mapping[str, Tensor] | None = None) -> Tensor:
        """``(..., Tp, A)`` in environment units as the network predicts them: represented, about [-1, 1], clipped.

        Within the range the inverse of :meth:`denormalise_actions`. Actions that are not absolute need ``observations``,
        ``{name: (..., To, D)}``.
        """
        if self.actions != "absolute":
            actions = to_representation(self.actions, actions, *_tool_pose(observations))
        return ((actions - self.action_offset) / self.action_scale).clamp(-self.action_clamp, self.action_clamp)

    def denormalise_actions(self, actions: Tensor, observations: Mapping[str, Tensor] | None = None) -> Tensor:
        """``(..., Tp, A)`` to environment units, rotations made orthonormal."""
        actions = actions.float() * self.action_scale + self.action_offset
        if self.actions != "absolute":
            actions = from_representation(self.actions, actions, *_tool_pose(observations))
        return orthonormal_actions(actions, self.env_spec.action)

    def chunks_numpy(self, actions: Tensor, observation: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """What the network predicted, ``(B, K, Tp, A)``, clipped and in environment units; ``observation`` is what it saw."""
        pose: dict[str, Tensor] = {}
        if self.actions != "absolute":
            pose = {name: torch.as_tensor(observation[name], dtype=torch.float32, device=self.device)[:, None] for name in TCP}
        chunks: NDArray[np.float32] = self.denormalise_actions(actions.clamp(-self.action_clamp, self.action_clamp), pose).cpu().numpy()
        return chunks

    def masked_mean(self, errors: Tensor, is_pad: Tensor) -> Tensor:
        """Mean of ``(B, Tp, A)`` over all entries, each channel with its weight, padded steps counting as zero.

        The divisor does not depend on the padding, so a batch split over processes has the mean of its parts' means.
        """
        weighted = errors if self._channel_weights is None else errors * self._channel_weights
        return (weighted * ~is_pad[..., None]).mean() if self.mask_padding else weighted.mean()

    def _register_affine(self, name: str, keys: Sequence[str]) -> None:
        # The checkpoint holds the normaliser itself, so these copies of it are not saved.
        for key in keys:
            wanted = self.env_spec.action.size if key.partition(":")[0] == ACTION else math.prod(self.env_spec.observation[key].shape)
            if self.normalizer[key].offset.size != wanted:
                raise UserError(
                    f"the normaliser was fitted on {self.normalizer[key].offset.size} numbers of {key!r}, the task has {wanted}"
                )
        for field in ("offset", "scale"):
            values = np.concatenate([np.zeros(0), *(np.ravel(getattr(self.normalizer[key], field)) for key in keys)])
            self.register_buffer(f"{name}_{field}", torch.from_numpy(values.astype(np.float32)), persistent=False)


def orthonormal_actions(actions: Tensor, spec: ActionSpec) -> Tensor:
    """Gram-Schmidt on every rot6d of ``(..., A)``; the tensor twin of ``rotation.orthonormalize_rot6d``."""
    for start in (index for index, name in enumerate(spec.names) if name.endswith("r11")):
        before, first, second, after = torch.split(actions, [start, 3, 3, spec.size - start - 6], -1)
        first = nn.functional.normalize(first, dim=-1)
        second = nn.functional.normalize(second - (first * second).sum(-1, keepdim=True) * first, dim=-1)
        actions = torch.cat([before, first, second, after], -1)
    return actions


def _tool_pose(observations: Mapping[str, Tensor] | None) -> list[Tensor]:
    """Position ``(..., 3)`` and rot6d ``(..., 6)`` of the tool at the present step."""
    if observations is None:
        raise ValueError(f"actions that are not absolute need the observation that they are seen from: {', '.join(TCP)}")
    return [observations[name][..., -1, :] for name in TCP]


def _check_keys(keys: Sequence[str], env_spec: EnvSpec, normalizer: Normalizer, action: str) -> None:
    for name in keys:
        if name not in env_spec.observation:
            raise UserError(f"task {env_spec.task!r} observes no {name!r}; there are {', '.join(sorted(env_spec.observation))}")
    for name in (*(name for name in keys if not env_spec.observation[name].is_image), action):
        if name not in normalizer.parts:
            raise UserError(f"the normaliser was fitted without {name!r}; it has {', '.join(sorted(normalizer.parts))}")


def _check_encoder(encoder: Encoder | None, images: Sequence[str]) -> None:
    if images and encoder is None:
        raise UserError(f"{images[0]!r} is an image, which policy=diffusion_image sees; or leave it out of observation_keys")
    if encoder is not None and set(encoder.keys) != set(images):
        raise UserError(f"the encoder sees {', '.join(encoder.keys)}; the images among observation_keys are {', '.join(images) or 'none'}")
