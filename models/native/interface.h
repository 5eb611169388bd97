// The functions and structures of a library as text, from which Python takes the types of their arguments.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>

template <class T>
std::string type_name() {
    using std::is_same_v;
    if constexpr (std::is_pointer_v<T>)
        return type_name<std::remove_cv_t<std::remove_pointer_t<T>>>() + "*";
    else if constexpr (is_same_v<T, uint8_t>)
        return "uint8";
    else if constexpr (is_same_v<T, int32_t>)
        return "int32";
    else if constexpr (is_same_v<T, int64_t>)
        return "int64";
    else if constexpr (is_same_v<T, float>)
        return "float";
    else if constexpr (is_same_v<T, double>)
        return "double";
    else
        return T::NAME;
}

// A line "NAME TYPE TYPE ..": a routine and its arguments.
template <class... Arguments>
std::string signature(const char *name, const char *(*)(Arguments...)) {
    std::string line = name;
    ((line += " " + type_name<Arguments>()), ...);
    return line + "\n";
}

// A line "struct NAME BYTES".
template <class Structure>
std::string layout() {
    return std::string("struct ") + Structure::NAME + " " + std::to_string(sizeof(Structure)) + "\n";
}
