"""Stand-ins for the probes; what they would have measured is None."""

from lava.magma.core.callback_fx import NxSdkCallbackFx


class _Probe(NxSdkCallbackFx):
    def __init__(self, **options):
        self.options = options

    def pre_run_callback(self, board=None, var_id_to_var_model_map=None):
        pass

    def post_run_callback(self, board=None, var_id_to_var_model_map=None):
        pass


class Loihi2Power(_Probe):
    pass


class Loihi2ExecutionTime(_Probe):
    pass


class Loihi2Activity(_Probe):
    pass
