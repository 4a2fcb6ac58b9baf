import ClusterAPI
import JSON

extension Registry {
    /// PATCH of an object or of its status.
    func patch(_ call: APICall) async throws(StatusError) -> APIAnswer {
        let options = try WriteOptions(call.parameters)
        let body = try call.requireBody()
        let type = try patchType(call)
        var warnings: [String] = []
        let stored = try await change(call, dryRun: options.dryRun) { old throws(StatusError) in
            let patched = try patched(old, body.json, type, call.resource.gvk)
            // A fresh list: the attempt that counts is the last.
            warnings = []
            let object = try decode(
                DecodedBody(json: patched, duplicates: body.duplicates), as: call.resource, options.fieldValidation,
                warnings: &warnings)
            if call.subresource.isEmpty { warnings += ObjectValidation.remarks(object, call.resource.gvk) }
            return object
        }
        return APIAnswer(content: .object(stored), warnings: warnings)
    }

    func patchType(_ call: APICall) throws(StatusError) -> PatchType {
        let accepted: [PatchType] = [.json, .merge, .strategic]
        guard let type = call.patchType, accepted.contains(type) else {
            // Server-side apply comes with field ownership; until then the answer must be clear and not a wrong merge.
            throw .unsupportedMediaType(accepted: accepted.map(\.rawValue))
        }
        return type
    }

    func patched(
        _ object: JSONValue, _ patch: JSONValue, _ type: PatchType, _ kind: GroupVersionKind
    ) throws(StatusError) -> JSONValue {
        do throws(PatchError) {
            return switch type {
            case .json: try JSONPatch.apply(patch, to: object)
            case .merge: JSONMergePatch.apply(patch, to: object)
            case .strategic: try StrategicMergePatch.apply(patch, to: object, of: kind, schema: schema)
            case .apply: object
            }
        } catch .malformed(let text) {
            throw .badRequest(text)
        } catch .tooLarge(let text) {
            throw StatusError(code: 413, reason: .requestEntityTooLarge, message: text)
        } catch {
            throw StatusError(
                code: 422, reason: .invalid,
                message: "the server rejected our request due to an error in our request: \(error)")
        }
    }
}
