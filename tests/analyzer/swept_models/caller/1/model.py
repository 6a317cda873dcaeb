"""Business logic: asks the doubler, and fails where that is not loaded."""

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            tensor = pb_utils.get_input_tensor_by_name(request, "IN")
            answer = pb_utils.InferenceRequest(
                model_name="doubler", requested_output_names=["OUT"], inputs=[tensor]
            ).exec()
            if answer.has_error():
                responses.append(pb_utils.InferenceResponse(error=answer.error()))
                continue
            doubled = pb_utils.get_output_tensor_by_name(answer, "OUT")
            responses.append(pb_utils.InferenceResponse([doubled]))
        return responses
